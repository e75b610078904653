// SPDX-License-Identifier: Apache-2.0

// Package account owns accounts: the ID that an account keeps for good, the
// identifiers that name it, its password, the limits on guessing, and the codes
// sent to its owner. Other packages of the account service ask it who somebody
// is and never read its tables.
//
// A Service keeps nothing between calls but a queue for hashing: several may
// serve one database. All of it is safe for concurrent use.
//
// It must not know devices beyond the name by which one is throttled, nor how
// mail is carried.
package account
