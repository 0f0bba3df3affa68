const silence = 10_000 // a feed speaks each second; a network that is cut tells nobody
const maxMessage = 64 << 20 // some 300,000 events

/**
 * Follows a feed until the signal ends it, and again where it breaks off: soon
 * at first, then every few seconds. Hear takes each news; position says from
 * where to go on.
 */
export async function follow({ url, token, signal, position, hear, onError }) {
  const most = 5000
  let wait = 50
  while (!signal.aborted) {
    try {
      await stream(url, token, signal, position(), (news) => {
        wait = 50
        hear(news)
      })
    } catch (err) {
      if (signal.aborted) return
      onError(err)
    }
    await pause(wait + Math.random() * wait, signal)
    wait = Math.min(2 * wait, most)
  }
}

function pause(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(done, ms)
    signal.addEventListener('abort', done, { once: true })
    function done() {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
  })
}

// Reads one answer to its end, which is always an error: a feed has none.
async function stream(url, token, signal, after, hear) {
  const cut = new AbortController()
  const stop = () => cut.abort(signal.reason)
  signal.addEventListener('abort', stop, { once: true })
  let watch
  const heard = () => {
    clearTimeout(watch)
    watch = setTimeout(() => cut.abort(new Error('the feed has fallen silent')), silence)
  }
  try {
    heard()
    const answer = await fetch(url, {
      headers: {
        accept: 'text/event-stream',
        authorization: `Bearer ${await token()}`,
        ...(after === undefined ? {} : { 'last-event-id': after }),
      },
      redirect: 'error', // the token would go along
      signal: cut.signal,
    })
    const type = answer.headers.get('content-type') ?? ''
    if (answer.status !== 200 || !/^text\/event-stream(;|$)/.test(type)) {
      // A key that has ended is mended otherwise than one without the scope.
      const { code } = type === 'application/problem+json' ? (await answer.json().catch(() => null)) ?? {} : {}
      throw new Error(`the feed answers with status ${answer.status} and ${typeof code === 'string' && code.length <= 40 ? `code ${JSON.stringify(code)}` : `type "${type}"`}`)
    }
    const messages = new Messages()
    for await (const part of answer.body) {
      for (const text of messages.read(part)) {
        const news = parseNews(text)
        if (!continues(news, after)) throw new Error(`news leads from ${after} to ${news.head}`)
        hear(news)
        after = news.head
        heard()
      }
    }
    throw new Error('the feed has ended')
  } finally {
    clearTimeout(watch)
    signal.removeEventListener('abort', stop)
    cut.abort()
  }
}

/** Reads server-sent events (HTML, section 9.2): the data of those of type "message". */
export class Messages {
  #utf8 = new TextDecoder('utf-8', { fatal: true })
  #line = [] // pieces of a line whose end has not come
  #data = []
  #length = 0
  #other = false

  /** The messages that this part of the stream completes. */
  read(part) {
    const messages = []
    const text = this.#utf8.decode(part, { stream: true })
    let from = 0
    for (let to; (to = text.indexOf('\n', from)) >= 0; from = to + 1) {
      this.#line.push(text.slice(from, to))
      const line = this.#line.join('').replace(/\r$/, '')
      this.#line = []
      if (line !== '') {
        this.#field(line)
        continue
      }
      if (this.#data.length > 0 && !this.#other) messages.push(this.#data.join('\n'))
      this.#data = []
      this.#length = 0
      this.#other = false
    }
    this.#line.push(text.slice(from))
    this.#length += text.length
    if (this.#length > maxMessage) throw new Error('a message is too long')
    return messages
  }

  #field(line) {
    const colon = line.indexOf(':')
    const name = colon < 0 ? line : line.slice(0, colon)
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '')
    if (name === 'data') this.#data.push(value)
    if (name === 'event') this.#other = value !== '' && value !== 'message'
  }
}

const idText = /^(?!0{16}-)[0-9a-f]{16}-(?:0|[1-9]\d{0,19})$/
const digestText = /^[\w-]{21}[AQgw]$/ // 16 bytes: the last 4 bits are spare
const timeText = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)$/
const raising = new Set(['sub', 'everyone'])
const kinds = new Set(['sid', 'gid', 'jti', 'client_id', 'kid', ...raising])

/**
 * Reads one news, in the form that Go's feed.ParseNews reads. What is not
 * understood is an error: a follower that does not know what ended must not
 * believe that it is up to date.
 */
export function parseNews(text) {
  const demand = (good, what) => {
    if (!good) throw new SyntaxError(`news with ${what}`)
  }
  const time = (t) => {
    demand(typeof t === 'string' && timeText.test(t) && !Number.isNaN(Date.parse(t)), 'no time')
    return Date.parse(t)
  }
  const n = JSON.parse(text)
  demand(n !== null && typeof n === 'object' && position(n.head), 'no head')
  demand(n.reset === undefined || typeof n.reset === 'boolean', 'a reset that is neither')
  demand(n.events === undefined || Array.isArray(n.events), 'no events')
  let last = `${n.head.slice(0, 16)}-0`
  const events = (n.events ?? []).map((e) => {
    demand(position(e?.id) && follows(e.id, last) && !follows(e.id, n.head), 'events out of order')
    last = e.id
    demand(kinds.has(e.kind), 'an unknown kind')
    demand(e.kind === 'everyone' ? e.digest === undefined : digestText.test(e.digest), 'a wrong digest')
    demand(raising.has(e.kind) ? Number.isSafeInteger(e.sev) && e.sev > 0 : !e.sev, 'a wrong epoch')
    return { id: e.id, kind: e.kind, digest: e.digest, sev: e.sev, until: time(e.until) }
  })
  return { head: n.head, at: time(n.at), reset: n.reset === true, events }
}

const position = (id) => typeof id === 'string' && idText.test(id)

/**
 * Whether a position comes after another; between epochs neither does. The
 * numbers have no leading zeros, and may be larger than a Number holds.
 */
function follows(id, other) {
  const length = id.length - other.length
  return id.startsWith(other.slice(0, 17)) && (length > 0 || (length === 0 && id > other))
}

function continues({ head, reset, events }, after) {
  if (reset) return true
  if (after === undefined || (head !== after && !follows(head, after))) return false
  return events.length === 0 || follows(events[0].id, after)
}
