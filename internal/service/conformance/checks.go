// SPDX-License-Identifier: Apache-2.0

package conformance

// The parts of docs/account-api.yaml.
const (
	transport   = "Transport"
	signatures  = "Device signatures"
	idempotency = "Idempotency"
	words       = "Signed statements and grants"
	versions    = "Versions"
	problems    = "Problems"
	enrolPath   = "POST /v1/devices"
	statePath   = "POST /v1/devices/{device_id}/statement"
	eventsPath  = "POST /v1/devices/{device_id}/events"
	beginPath   = "POST /v1/flows"
	answerPath  = "POST /v1/flows/{flow_id}"
	endPath     = "DELETE /v1/flows/{flow_id}"
	resendPath  = "POST /v1/flows/{flow_id}/resend"
	supportPath = "GET /v1/support"
	keysPath    = "GET /v1/keys"
	livePath    = "GET /livez"
	readyPath   = "GET /readyz"
)

// checks returns every check in the order in which they are made: what all else
// stands on first; guessing next to last, since it makes the service wary of this
// address; and last what every answer was held to.
func checks() []check {
	return []check{
		{"livez", livePath, "The process lives: 200.", nothing, lives},
		{"readyz", readyPath, "The database answers: 200.", nothing, isReady},
		{"tls", transport, "TLS 1.3, and nothing older.", nothing, older},
		{"no-plain-http", transport, "Nothing is answered without TLS.", nothing, inTheClear},
		{"keys", keysPath, "All sets with a higher number than `after`, oldest first, each signed by a key of its predecessor or by the root key.", nothing, keySets},
		{"enrol", enrolPath, "A new device gets an ID of its own, and its key is active.", nothing, enrols},
		{"enrol-again", enrolPath, "The same hardware, by any one identity, gets the same device ID.", nothing, enrolsAgain},
		{"enrol-signed", enrolPath, "An enrolment is signed by the key in the body.", nothing, keyOfAnother},
		{"enrol-bounds", enrolPath, "1 to 16 identities of known sources, each a SHA-256; a model of at most 128 characters.", nothing, badEnrolments},
		{"signature", signatures, "What is rightly signed, under Ed25519 or P-256, is answered.", nothing, rightlySigned},
		{"signature-missing", signatures, "What is not signed is refused with 401, which brings nonce and time to sign with.", nothing, notSigned},
		{"signature-wrong", signatures, "A signature that does not hold is refused with 401.", nothing, wronglySigned},
		{"signature-digest", signatures, "The signature covers content-digest, and that the body.", nothing, anotherDigest},
		{"signature-covers", signatures, "The signature covers method, path and Idempotency-Key.", nothing, notCovered},
		{"nonce-unknown", signatures, "The nonce is the server's.", nothing, unknownNonce},
		{"nonce-used", signatures, "A request whose nonce was used before is refused with 401.", nothing, usedNonce},
		{"device-own", signatures, "A device asks for what is its own, and no other's.", nothing, notItsOwn},
		{"idempotent", idempotency, "The same key with the same body gets the first answer again.", nothing, givesTheFirstAnswerAgain},
		{"idempotency-reused", idempotency, "The same key with another body or path is refused with 422; another device's key is another.", nothing, refusesAKeyForSomethingElse},
		{"idempotency-key", idempotency, "Every POST and DELETE has an Idempotency-Key of 16 to 64 characters.", nothing, wantsAKey},
		{"statement", statePath, "A statement is signed over the device's nonce, under the newest key set, for this device; of one never linked it says unlinked.", nothing, statesUnlinked},
		{"events", eventsPath, "1 to 100 events are noted with 204.", nothing, reports},
		{"flow-begin", beginPath, "What the device's link does not allow is refused: NotLinked, InvalidArgument.", nothing, beginsOnlyWhatFits},
		{"flow-identify", answerPath, "Nothing is said about an identifier before the password.", nothing, saysNothingOfIdentifiers},
		{"flow-order", answerPath, "The order of steps is the service's: another step's answer is WrongStep.", nothing, inOrder},
		{"flow-limit", beginPath, "At most 8 flows of one device are open; an older one ends.", nothing, onlyEight},
		{"flow-end", endPath, "An ended flow takes no more answers: Timeout.", nothing, ends},
		{"resend", resendPath, "Resend makes another captcha, and is WrongStep where there is nothing to send.", nothing, resends},
		{"recover", answerPath, "A recover asks for a captcha, then waits; a device that is not known gets no code at once; nothing is signed.", nothing, recovers},
		{"link", answerPath, "A link is rehearsed, confirmed, reserved, committed; nothing is linked before.", anAccount, links},
		{"link-again", enrolPath, "A linked device that comes with another key keeps ID and link; the key is pending until the owner's unlock.", anAccount, keptOverReset},
		{"link-dropped", endPath, "A reserved link is dropped with its flow.", anAccount, dropsReservations},
		{"unlock", answerPath, "An unlock ends with a grant for this link, of a higher generation.", anAccount, unlocks},
		{"grant-once", answerPath, "A flow that is done gives no second grant.", anAccount, opensOnce},
		{"approve", answerPath, "An approval shows a page by https and a code, opens nothing before the owner's word, and has one code at a time.", anAccount, approves},
		{"grant-bound", words, "A grant answers the newest nonce, for its purpose; without commit it changes nothing.", anAccount, isBound},
		{"sign-out", answerPath, "A sign-out is granted, committed, and then stated signed-out.", anAccount, signsOut},
		{"unlink", answerPath, "An unlink is granted, committed, then stated unlinked, with a receipt.", anAccount, unlinks},
		{"reset", answerPath, "A reset is granted once the person has confirmed; the link stands, and its account may link again.", anAccount, resets},
		{"commit-again", answerPath, "A committed flow answers commit again with a fresh statement and changes nothing.", anAccount, commitsOnce},
		{"wrong-password", answerPath, "A wrong password and an identifier that nobody has are answered alike.", anAccount, tellsNoneFromWrong},
		{"wrong-password-time", answerPath, "A wrong password and an identifier that nobody has take as long.", anAccount, takesAsLong},
		{"wrong-account", answerPath, "The right password of another account is WrongAccount, names the device's masked, and does not count.", twoAccounts, stranger},
		{"body-size", transport, "A body of more than 64 KiB is refused with 413.", nothing, tooLarge},
		{"body-type", transport, "A body that is not application/json is refused with 415.", nothing, otherMedia},
		{"body-bounds", transport, "A body that is no JSON or not within the document's bounds is refused with 400.", nothing, badBodies},
		{"body-unknown", transport, "A member that the document does not name is refused with 400.", nothing, unknownMembers},
		{"versions", versions, "What another version's path names is refused with a problem that lists `versions`.", nothing, otherVersions},
		{"paths", problems, "A path that is none is 404, another method 405.", nothing, noSuchPlace},
		{"support", supportPath, "Contacts for a region, the region's own first.", nothing, contacts},
		{"guesses", answerPath, "Wrong passwords in a row are answered with RateLimited or AccountBlocked after some, not before the fifth.", nothing, slowsGuesses},
		{everyMediaType, transport, "Every answer is application/json.", nothing, everywhere},
		{everyNonce, signatures, "Every answer to a POST or DELETE has a fresh Accountlock-Nonce, and a 401 names it with the time.", nothing, everywhere},
		{everyProblem, problems, "Every refusal is application/problem+json of a known type with its own status.", nothing, everywhere},
		{everyRetryAfter, problems, "429 and 503 have Retry-After in seconds.", nothing, everyWait},
	}
}
