/** Options, and what is usual where they say nothing. One that there is not might be meant to make things safe. */
export function chosen(options, usual) {
  const o = { ...usual }
  for (const [name, value] of Object.entries(options)) {
    if (!Object.hasOwn(usual, name)) throw new TypeError(`there is no option ${name}`)
    if (value !== undefined) o[name] = value
  }
  return o
}

/** A URL, unless what is said there is whoever's is in between: over plain HTTP, but to this machine or with leave. */
export function safe(from, { insecureAllowHTTP }) {
  const url = new URL(from)
  const loopback = /^(localhost|127(\.\d+){3}|\[::1\])$/.test(url.hostname)
  if (url.username || url.password || (url.protocol !== 'https:' && !(url.protocol === 'http:' && (loopback || insecureAllowHTTP)))) {
    throw new TypeError(`${from} is not https`)
  }
  return url
}
