// SPDX-License-Identifier: Apache-2.0

package i18n

// SentencesOf splits a text as Say does.
func SentencesOf(text string) []string { return sentencesOf(text) }
