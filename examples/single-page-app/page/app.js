const issuer = document.documentElement.dataset.issuer
const byId = (id) => document.getElementById(id)
const say = (text) => { document.querySelector('[role=status]').textContent = text }

// In variables of this module: not in localStorage, where they outlive the page
// and any script of this origin finds them.
let access, refresh
let renewal // the refresh that is under way

async function post(path, body) {
  const answer = await fetch(`${issuer}/api/v1/${path}`, {
    method: 'POST', credentials: 'omit', headers: { 'Content-Type': 'application/json', ...(access && { Authorization: `Bearer ${access}` }) }, body: JSON.stringify(body),
  })
  const said = answer.status === 204 ? {} : await answer.json()
  if (!answer.ok) throw Object.assign(new Error(said.detail), said)
  return said
}

function keep({ access_token, refresh_token }) {
  [access, refresh] = [access_token, refresh_token]
  for (const id of ['orders', 'out']) byId(id).disabled = !access
}

/** One refresh for all who want one. Without an answer the same token is good once more. */
function renew() {
  renewal ??= (async () => {
    access = undefined
    for (let tries = 1; ; tries++) {
      try {
        return keep(await post('refresh', { refresh_token: refresh }))
      } catch (err) {
        if (err.status === 401) keep({}) // only a sign-in helps
        if (tries === 3 || (err.status && err.status !== 503)) throw err
        await new Promise((resolve) => setTimeout(resolve, 500 * tries))
      }
    }
  })().finally(() => { renewal = undefined })
  return renewal
}

/** Asks our own API. A token that is over, or says what is true no more, is renewed once. */
async function api(path) {
  for (let tried = false; ; tried = true) {
    const answer = await fetch(path, { headers: { Authorization: `Bearer ${access}` } })
    if (answer.status !== 401 || tried) return answer
    await renew()
  }
}

const doing = (what) => async (event) => {
  event.preventDefault()
  try {
    await what(event)
  } catch (err) {
    say(err.message)
  }
}

document.querySelector('form').addEventListener('submit', doing(async ({ target }) => {
  const { identifier, password } = Object.fromEntries(new FormData(target))
  keep(await post('signin', { identifier, password, as: 'jwt' }))
  target.reset()
  say('signed in')
}))

byId('orders').addEventListener('click', doing(async () => say(await (await api('/orders')).text())))

byId('out').addEventListener('click', doing(async () => {
  await renew() // a token that is over ends nothing
  await post('signout', {})
  keep({})
  say('signed out')
}))
