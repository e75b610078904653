// SPDX-License-Identifier: Apache-2.0

package fault

type text struct{ message, remedy string }

var order = []Code{
	InvalidCredentials, WrongAccount, AccountBlocked, AccountDeleted, RateLimited,
	CaptchaRequired, InvalidCode, CodeExpired, WeakPassword, RecoveryPending, Declined,
	NetworkUnavailable, CaptivePortal, ClockWrong, ServiceUnavailable, ServiceUntrusted,
	GrantRefused, DeviceUnknown, StorageFailed, NotLocked, Locked, NotLinked,
	AlreadyLinked, WrongStep, TooManyFlows, InvalidArgument, NotAuthorized, Timeout, Internal,
}

// texts holds one sentence of cause and one of remedy for each code. 'User name
// or password' appears once only: where the account service itself said so.
var texts = map[Code]text{
	InvalidCredentials: {"The account service says that the user name or password is wrong.", "Type both again; the account ID is in the e-mail you got at registration, and a forgotten password can be recovered."},
	WrongAccount:       {"The password is right, but this device belongs to another account.", "Sign in with the account that the hint names."},
	AccountBlocked:     {"The account service has blocked this account.", "Wait until the block ends, recover the account, or ask support."},
	AccountDeleted:     {"This account has been deleted.", "Nothing needs to be typed: the device is released at its next contact with the account service."},
	RateLimited:        {"Too many attempts were made.", "Wait until the time shown; trying again sooner does not make the wait longer."},
	CaptchaRequired:    {"The account service asks for a check that a person is typing.", "Solve the check, then go on."},
	InvalidCode:        {"The code is wrong.", "Compare it with what you were sent or wrote down, and type it again."},
	CodeExpired:        {"The code is no longer valid.", "Ask for a new code and type that one."},
	WeakPassword:       {"The password is too short, too long or too common.", "Choose a longer one that is not on lists of common passwords: 8 to 128 characters."},
	RecoveryPending:    {"A recovery of this account is waiting for its time.", "Come back when the wait is over; the owner has been told and can stop it."},
	Declined:           {"The request was declined.", "Choose another way, or ask the owner to approve it."},
	NetworkUnavailable: {"The device has no working network connection.", "Connect to a network and try again, or use an offline code."},
	CaptivePortal:      {"This network wants you to sign in to it first.", "Open its login page, or change to another network."},
	ClockWrong:         {"The device's clock is too far off to check the account service's certificate.", "Let the device set its clock, then try again."},
	ServiceUnavailable: {"The account service does not answer properly at the moment.", "Nothing is wrong with your password; try again in a few minutes."},
	ServiceUntrusted:   {"What answered could not prove that it is the account service.", "This is not a password problem: change to another network and try again."},
	GrantRefused:       {"The account service's permission does not fit this device and this request.", "Begin again from the first step; if it comes back, ask support."},
	DeviceUnknown:      {"The account service does not know this device.", "Connect the device to the network so that it can enrol, then try again."},
	StorageFailed:      {"The device could not read or write its own storage.", "Restart the device and try again; if it comes back, ask support."},
	NotLocked:          {"The device is not locked.", "Nothing needs to be done."},
	Locked:             {"The device is locked.", "Unlock it with its owner's account first."},
	NotLinked:          {"No account is signed in on this device.", "Link an account first."},
	AlreadyLinked:      {"An account is already signed in on this device.", "Sign it out or unlink the device first."},
	WrongStep:          {"This answer is not the one that is asked for now.", "Look at what is asked for now, and answer that."},
	TooManyFlows:       {"Too many flows are open.", "Finish or cancel one, then begin again."},
	InvalidArgument:    {"The request holds something that is not understood.", "Correct it and send it again."},
	NotAuthorized:      {"This needs an authorisation that was not given.", "Authenticate as an administrator, or ask one."},
	Timeout:            {"It took too long, and the flow has ended.", "Begin again from the first step."},
	Internal:           {"Something went wrong inside accountlock.", "Try again; if it comes back, give support the incident number."},
}
