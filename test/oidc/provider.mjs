// SPDX-License-Identifier: Apache-2.0
//
// A real identity provider (oidc-provider) for the tests. It listens on a free port,
// prints the port, reads its client as one line of JSON, and prints `ready`. Anybody signs in by any
// name: the name is the subject, and, before `@example.org`, the e-mail address.
import { readFileSync } from 'node:fs'
import { createServer } from 'node:https'
import { createInterface } from 'node:readline'
import Provider from 'oidc-provider'

const [cert, key] = process.argv.slice(2).map((path) => readFileSync(path))
let answer = (_, res) => { res.statusCode = 503; res.end() }
const server = createServer({ cert, key }, (req, res) => answer(req, res))
server.listen(0, '127.0.0.1', () => console.log(server.address().port))

createInterface({ input: process.stdin }).once('line', (line) => {
  const provider = new Provider(`https://127.0.0.1:${server.address().port}`, {
    clients: [JSON.parse(line)],
    claims: { email: ['email', 'email_verified'], phone: ['phone_number', 'phone_number_verified'] },
    features: { backchannelLogout: { enabled: true }, devInteractions: { enabled: true } },
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({ sub: id, email: `${id}@example.org`, email_verified: !id.startsWith('unverified') }),
    }),
    ttl: { Interaction: 600, Session: 3600, Grant: 3600, AccessToken: 600, IdToken: 600 },
  })
  answer = provider.callback()
  console.log('ready')
}).once('close', () => process.exit(0)) // with the test
