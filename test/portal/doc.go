// SPDX-License-Identifier: Apache-2.0

// Package portal drives the account service's pages as people do: in a real
// browser, on a phone, by the keyboard alone, without JavaScript.
package portal
