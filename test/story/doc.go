// SPDX-License-Identifier: Apache-2.0

// Package story is the suite that counts: the real accountlockd, on a private
// bus with the real polkitd where that matters, against the real
// accountlock-server over TLS, from link to unlink, with crashes, outages and
// abuse in between. It holds tests alone.
package story
