// SPDX-License-Identifier: Apache-2.0

package support_test

import (
	"database/sql"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/apitest"
	"github.com/accountlock/accountlock/internal/service/audit"
	"github.com/accountlock/accountlock/internal/service/device"
	"github.com/accountlock/accountlock/internal/service/staff"
	"github.com/accountlock/accountlock/internal/service/support"
)

// world is a service with a linked device, two agents and an auditor.
type world struct {
	*apitest.Service
	t                 *testing.T
	device            *apitest.Device
	alice, bob, carol apitest.Member
	auditor           apitest.Member
}

func newWorld(t *testing.T) *world {
	t.Helper()
	s := apitest.Start(t)
	w := &world{Service: s, t: t, device: s.Device(t)}
	s.Link(t, w.device, s.Owner)
	w.alice, w.bob, w.carol = s.Member(t, "alice", staff.Agent), s.Member(t, "bob", staff.Agent), s.Member(t, "carol", staff.Agent)
	w.auditor = s.Member(t, "dora", staff.Auditor)
	s.Outbox(t)
	return w
}

// open opens a case by alice and returns its number.
func (w *world) open() string {
	w.t.Helper()
	c, err := w.Cases.Open(w.t.Context(), w.alice.Member, w.device.ID, support.Asked{Challenge: "0123456789", Region: "GB"})
	if err != nil {
		w.t.Fatal(err)
	}
	return c.Number
}

func (w *world) answer(number, question, text string) bool {
	w.t.Helper()
	right, _, err := w.Cases.Answer(w.t.Context(), w.alice.Member, number, question, text)
	if err != nil {
		w.t.Fatal(err)
	}
	return right
}

// ask has two questions answered rightly.
func (w *world) ask(number string) string {
	w.t.Helper()
	if !w.answer(number, "account-id", w.Owner.ID) || !w.answer(number, "created", "2031-04") {
		w.t.Fatal("a right answer was wrong")
	}
	return number
}

func (w *world) approve(m apitest.Member, number string, a support.Action) error {
	_, err := w.Cases.Approve(w.t.Context(), m.Member, number, a)
	return err
}

func (w *world) act(number string, a support.Action) (string, error) {
	answer, _, err := w.Cases.Act(w.t.Context(), w.alice.Member, number, a, "")
	return answer, err
}

// approved has two members approve.
func (w *world) approved(number string, a support.Action) string {
	w.t.Helper()
	for _, m := range []apitest.Member{w.alice, w.bob} {
		if err := w.approve(m, number, a); err != nil {
			w.t.Fatal(err)
		}
	}
	return number
}

func (w *world) status() device.Status {
	w.t.Helper()
	d, err := w.Devices.Show(w.t.Context(), w.device.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	return d.Link.Status
}

func (w *world) outcome(number string) support.Outcome {
	w.t.Helper()
	c, err := w.Cases.Get(w.t.Context(), number)
	if err != nil {
		w.t.Fatal(err)
	}
	return c.Outcome
}

// told is the last message of those that were sent since.
func (w *world) told(since int) string {
	w.t.Helper()
	all := w.Outbox(w.t)
	if len(all) <= since {
		w.t.Fatal("the owner was told nothing")
	}
	return all[len(all)-1]
}

func wantFault(t *testing.T, err error, code fault.Code) {
	t.Helper()
	if fault.CodeOf(err) != code {
		t.Fatalf("got %v, want %s", err, code)
	}
}

func TestADeviceIsReleasedByTwoMembersAfterTheOwnerCouldObject(t *testing.T) {
	w := newWorld(t)
	sent := len(w.Outbox(t))
	number := w.ask(w.open())
	if mail := w.told(sent); !strings.Contains(mail, number) || !strings.Contains(mail, "https://accounts.example.org/support/stop?") {
		t.Fatalf("at the opening: %s", mail)
	}
	_, err := w.act(number, support.Release)
	wantFault(t, err, fault.NotAuthorized)
	if err := w.approve(w.alice, number, support.Release); err != nil {
		t.Fatal(err)
	}
	if mail := w.told(sent + 1); !strings.Contains(mail, "a first member of support approved") {
		t.Fatalf("at the first approval: %s", mail)
	}
	_, err = w.act(number, support.Release)
	wantFault(t, err, fault.NotAuthorized)
	if err := w.approve(w.bob, number, support.Release); err != nil {
		t.Fatal(err)
	}
	if mail := w.told(sent + 2); !strings.Contains(mail, "from Saturday, 5 April 2031") || !strings.Contains(mail, "on.") {
		t.Fatalf("at the second approval: %s", mail)
	}
	w.Clock.Advance(support.ObjectionTime - time.Second)
	_, err = w.act(number, support.Release)
	wantFault(t, err, fault.NotAuthorized)
	if fault.As(err).RetryAfter != time.Second {
		t.Fatalf("nobody is told when: %v", fault.As(err).RetryAfter)
	}
	if w.status() != device.Linked {
		t.Fatal("it is released already")
	}
	w.Clock.Advance(time.Second)
	if _, err := w.act(number, support.Release); err != nil {
		t.Fatal(err)
	}
	if w.status() != device.Unlinked || w.outcome(number) != support.Released {
		t.Fatalf("%s %s", w.status(), w.outcome(number))
	}
	if mail := w.told(sent + 3); !strings.Contains(mail, "released") {
		t.Fatalf("at the release: %s", mail)
	}
	_, err = w.act(number, support.Release)
	wantFault(t, err, fault.WrongStep)
	var did []string
	trail, err := w.Trail.List(t.Context(), audit.Filter{Case: number, Limit: 20})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range trail {
		did = append(did, e.Actor+" "+e.Action)
	}
	if got := strings.Join(did, ", "); got != "alice device-released, bob case-approved, alice case-approved, alice question-asked, alice question-asked, alice case-opened" {
		t.Errorf("the trail says %s", got)
	}
}

func TestOneMemberNeverApprovesTwiceNorInstead(t *testing.T) {
	w := newWorld(t)
	number := w.ask(w.open())
	if err := w.approve(w.alice, number, support.Release); err != nil {
		t.Fatal(err)
	}
	wantFault(t, w.approve(w.alice, number, support.Release), fault.NotAuthorized)
	wantFault(t, w.approve(w.auditor, number, support.Release), fault.NotAuthorized)
	// Of something else than the first approved of.
	wantFault(t, w.approve(w.bob, number, support.OfflineCode), fault.InvalidArgument)
	wantFault(t, w.approve(w.bob, number, "explode"), fault.InvalidArgument)
	w.Clock.Advance(10 * time.Hour)
	_, err := w.act(number, support.Release)
	wantFault(t, err, fault.NotAuthorized)
	// What one member approved of counts no more when they are disabled.
	if err := w.approve(w.bob, number, support.Release); err != nil {
		t.Fatal(err)
	}
	w.Clock.Advance(support.ObjectionTime)
	if _, err := w.Staff.SetDisabled(t.Context(), audit.Console, "alice", true); err != nil {
		t.Fatal(err)
	}
	_, _, err = w.Cases.Act(t.Context(), w.bob.Member, number, support.Release, "")
	wantFault(t, err, fault.NotAuthorized)
	if w.status() != device.Linked {
		t.Fatal("released")
	}
}

func TestOneMemberWhoApprovesManyTimesAtOnceCountsOnce(t *testing.T) {
	w := newWorld(t)
	number := w.ask(w.open())
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { _ = w.approve(w.alice, number, support.Release) })
	}
	wg.Wait()
	c, err := w.Cases.Get(t.Context(), number)
	if err != nil || len(c.Approvals) != 1 || w.Cases.Standing(c).Complete() {
		t.Fatalf("%+v %v", c.Approvals, err)
	}
}

func TestADeedIsDoneOnceHoweverManyDoItAtOnce(t *testing.T) {
	w := newWorld(t)
	number := w.approved(w.ask(w.open()), support.Release)
	w.Clock.Advance(support.ObjectionTime)
	var wg sync.WaitGroup
	errs := make(chan error, 6)
	for range 6 {
		wg.Go(func() { _, err := w.act(number, support.Release); errs <- err })
	}
	wg.Wait()
	close(errs)
	done := 0
	for err := range errs {
		if err == nil {
			done++
		}
	}
	trail, err := w.Trail.List(t.Context(), audit.Filter{Case: number, Limit: 100})
	if err != nil || done != 1 || strings.Count(fmt.Sprint(trail), "device-released") != 1 {
		t.Fatalf("done %d times, %v: %v", done, err, trail)
	}
}

func TestApprovalsRunOut(t *testing.T) {
	w := newWorld(t)
	number := w.ask(w.open())
	if err := w.approve(w.alice, number, support.Release); err != nil {
		t.Fatal(err)
	}
	w.Clock.Advance(24 * time.Hour)
	if err := w.approve(w.bob, number, support.Release); err != nil {
		t.Fatal(err)
	}
	w.Clock.Advance(support.ObjectionTime)
	_, err := w.act(number, support.Release)
	wantFault(t, err, fault.NotAuthorized)
	if err := w.approve(w.alice, number, support.Release); err != nil {
		t.Fatal(err)
	}
	// A deed that nobody did for a day is no longer permitted.
	w.Clock.Advance(support.ObjectionTime + 24*time.Hour)
	_, err = w.act(number, support.Release)
	wantFault(t, err, fault.NotAuthorized)
	w.approved(number, support.Release)
	w.Clock.Advance(support.ObjectionTime)
	if _, err := w.act(number, support.Release); err != nil {
		t.Fatal(err)
	}
}

func TestALostDeviceIsReleasedByNobody(t *testing.T) {
	w := newWorld(t)
	number := w.ask(w.open())
	lose := func() {
		t.Helper()
		if _, err := w.Devices.Lose(t.Context(), w.device.ID, "", ""); err != nil {
			t.Fatal(err)
		}
	}
	lose()
	for _, a := range []support.Action{support.Release, support.OfflineCode, support.Ticket} {
		wantFault(t, w.approve(w.alice, number, a), fault.Declined)
	}
	if _, err := w.Devices.Find(t.Context(), w.device.ID); err != nil {
		t.Fatal(err)
	}
	wantFault(t, w.approve(w.alice, number, support.Found), fault.InvalidArgument)
	w.approved(number, support.Release)
	w.Clock.Advance(support.ObjectionTime)
	lose()
	_, err := w.act(number, support.Release)
	wantFault(t, err, fault.Declined)
	// Found again, it is not what was approved of.
	if _, err := w.Devices.Find(t.Context(), w.device.ID); err != nil {
		t.Fatal(err)
	}
	_, err = w.act(number, support.Release)
	wantFault(t, err, fault.NotAuthorized)
	// Support finds a device by two approvals of that, and its case ends with it.
	lose()
	w.approved(number, support.Found)
	w.Clock.Advance(support.ObjectionTime)
	if _, err := w.act(number, support.Found); err != nil {
		t.Fatal(err)
	}
	if w.status() != device.Linked || w.outcome(number) != support.FoundAgain {
		t.Fatalf("%s %s", w.status(), w.outcome(number))
	}
	_, err = w.act(number, support.Release)
	wantFault(t, err, fault.WrongStep)
}

func TestTheOwnerStopsACaseFromTheMailOrSignedIn(t *testing.T) {
	w := newWorld(t)
	number := w.approved(w.ask(w.open()), support.Release)
	w.Clock.Advance(support.ObjectionTime)
	link := w.Cases.StopURL(number)
	_, code, _ := strings.Cut(link, "code=")
	code, _, _ = strings.Cut(code, "&")
	for _, bad := range []struct{ number, account, code string }{
		{number, "", ""}, {number, "", "AAAAAAAAAAAAAAAA"}, {number, w.Stranger.ID, ""}, {number, w.Stranger.ID, code},
		{"482-177-359", "", code}, {"", "", code}, {strings.Repeat("1", 3000), "", code},
	} {
		wantFault(t, w.Cases.Stop(t.Context(), bad.number, bad.account, bad.code), fault.InvalidCode)
	}
	if err := w.Cases.Stop(t.Context(), number, "", code); err != nil {
		t.Fatal(err)
	}
	_, err := w.act(number, support.Release)
	wantFault(t, err, fault.WrongStep)
	wantFault(t, w.Cases.Stop(t.Context(), number, "", code), fault.InvalidCode)
	if w.status() != device.Linked || w.outcome(number) != support.Stopped {
		t.Fatalf("%s %s", w.status(), w.outcome(number))
	}
	// Nobody begins anew at once.
	_, err = w.Cases.Open(t.Context(), w.bob.Member, w.device.ID, support.Asked{})
	wantFault(t, err, fault.Declined)
	w.Clock.Advance(24 * time.Hour)
	again := w.open()
	if again == number {
		t.Fatal("a new case has the number of the old one")
	}
	if err := w.Cases.Stop(t.Context(), again, w.Owner.ID, ""); err != nil {
		t.Fatal(err)
	}
}

func TestQuestionsAreJudgedByTheServiceAndAnswersForgotten(t *testing.T) {
	w := newWorld(t)
	number := w.open()
	other := w.Device(t)
	w.Link(t, other, w.Owner)
	for _, q := range []struct {
		question, answer string
		right            bool
	}{
		{"account-id", "12345678", false}, {"account-id", w.Owner.ID[:4] + " " + w.Owner.ID[4:], true},
		{"created", "2031-07", false},
		{"devices", "2", true},
		{"linked", "2031-03", true},
		{"sign-in", "2031-04", true},
		{"email", "somebody@example.org", false}, {"email", "Owner@Example.org", true},
	} {
		if got := w.answer(number, q.question, q.answer); got != q.right {
			t.Errorf("%s: %q is right: %v", q.question, q.answer, got)
		}
	}
	c, err := w.Cases.Get(t.Context(), number)
	if err != nil {
		t.Fatal(err)
	}
	if right, wrong := c.Tally(); right != 5 || wrong != 3 {
		t.Errorf("%d right, %d wrong", right, wrong)
	}
	for _, again := range []string{"account-id", "created"} {
		_, _, err := w.Cases.Answer(t.Context(), w.bob.Member, number, again, "2031-04")
		wantFault(t, err, fault.InvalidArgument)
	}
	for _, bad := range [][2]string{{"shoe-size", "42"}, {"phone", "12345"}, {"linked", ""}, {"linked", strings.Repeat("x", 300)}} {
		_, _, err := w.Cases.Answer(t.Context(), w.bob.Member, number, bad[0], bad[1])
		wantFault(t, err, fault.InvalidArgument)
	}
	_, _, err = w.Cases.Answer(t.Context(), w.auditor.Member, number, "linked", "2031-04")
	wantFault(t, err, fault.NotAuthorized)
	left, err := w.Cases.Questions(t.Context(), c)
	if err != nil || len(left) != 0 {
		t.Errorf("%+v %v", left, err)
	}
	// Neither the database nor the log holds what was answered.
	var stored string
	err = w.DB.Read(t.Context(), func(tx *sql.Tx) error {
		rows, err := tx.QueryContext(t.Context(), `SELECT question || staff || case_number FROM case_answers UNION ALL SELECT detail FROM audit_entries UNION ALL SELECT text FROM case_notes`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var s string
			if err := rows.Scan(&s); err != nil {
				return err
			}
			stored += s + "\n"
		}
		return rows.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"2031-07", "somebody@example.org", "12345678", w.Owner.ID} {
		if strings.Contains(stored, s) || strings.Contains(w.Log.String(), s) {
			t.Errorf("%q was kept", s)
		}
	}
}

func TestAQuestionTakesTwoWrongAnswersAndNoMore(t *testing.T) {
	w := newWorld(t)
	number := w.open()
	for _, guess := range []string{"11111111", "22222222"} {
		if w.answer(number, "account-id", guess) {
			t.Fatal("a guess is right")
		}
	}
	_, _, err := w.Cases.Answer(t.Context(), w.alice.Member, number, "account-id", w.Owner.ID)
	wantFault(t, err, fault.InvalidArgument)
	// Two right and two wrong are not enough.
	w.answer(number, "created", "2031-04")
	w.answer(number, "linked", "2031-04")
	wantFault(t, w.approve(w.alice, number, support.Release), fault.Declined)
	w.answer(number, "devices", "1")
	if err := w.approve(w.alice, number, support.Release); err != nil {
		t.Fatal(err)
	}
}

func TestAMonthOrASmallNumberIsGuessedOnce(t *testing.T) {
	w := newWorld(t)
	number := w.open()
	for question, right := range map[string]string{"created": "2031-04", "linked": "2031-04", "sign-in": "2031-04", "devices": "1"} {
		if w.answer(number, question, "7") {
			t.Fatalf("%s: a guess is right", question)
		}
		_, _, err := w.Cases.Answer(t.Context(), w.bob.Member, number, question, right)
		wantFault(t, err, fault.InvalidArgument)
	}
}

func TestWhatIsGuessedEasilyAloneOpensNothing(t *testing.T) {
	w := newWorld(t)
	number := w.open()
	if !w.answer(number, "sign-in", "2031-04") || !w.answer(number, "devices", "1") {
		t.Fatal("a right answer was wrong")
	}
	wantFault(t, w.approve(w.alice, number, support.Release), fault.Declined)
	w.answer(number, "email", w.Owner.Email)
	if err := w.approve(w.alice, number, support.Release); err != nil {
		t.Fatal(err)
	}
}

func TestNothingIsApprovedOfBeforeQuestionsWereAnswered(t *testing.T) {
	w := newWorld(t)
	number := w.open()
	wantFault(t, w.approve(w.alice, number, support.Release), fault.Declined)
	w.answer(number, "account-id", w.Owner.ID)
	wantFault(t, w.approve(w.alice, number, support.Release), fault.Declined)
}

func TestTheDeviceAsksForACaseAndGetsTheSameAgain(t *testing.T) {
	w := newWorld(t)
	sent := len(w.Outbox(t))
	caller := func(trusted device.KeyStatus) device.Caller {
		return device.Caller{DeviceID: w.device.ID, KeyStatus: trusted}
	}
	first, err := w.Cases.ForDevice(t.Context(), caller(device.PendingKey), support.Asked{Challenge: "01234 56789", Region: "DE", Locale: "de"})
	if err != nil || first.Proven || first.Challenge != "0123456789" || first.OpenedBy != audit.Device {
		t.Fatalf("%+v %v", first, err)
	}
	again, err := w.Cases.ForDevice(t.Context(), caller(device.Active), support.Asked{Challenge: "9876543210"})
	if err != nil || again.Number != first.Number || !again.Proven || again.Challenge != "9876543210" {
		t.Fatalf("%+v %v", again, err)
	}
	if n := len(w.Outbox(t)); n != sent+1 {
		t.Fatalf("the owner was told %d times", n-sent)
	}
	if c, err := w.Cases.Open(t.Context(), w.alice.Member, w.device.ID, support.Asked{}); err != nil || c.Number != first.Number || c.Challenge != "9876543210" {
		t.Fatalf("staff opened another one: %+v %v", c, err)
	}
	_, err = w.Cases.ForDevice(t.Context(), caller(device.Active), support.Asked{Challenge: "12"})
	wantFault(t, err, fault.InvalidArgument)
	// Three a day, and no more.
	for range 2 {
		if _, err := w.Cases.Close(t.Context(), w.alice.Member, w.open()); err != nil {
			t.Fatal(err)
		}
	}
	w.open()
	if _, err := w.Cases.Close(t.Context(), w.alice.Member, w.open()); err != nil {
		t.Fatal(err)
	}
	_, err = w.Cases.ForDevice(t.Context(), caller(device.Active), support.Asked{})
	wantFault(t, err, fault.RateLimited)
	free := w.Device(t)
	_, err = w.Cases.ForDevice(t.Context(), device.Caller{DeviceID: free.ID, KeyStatus: device.Active}, support.Asked{})
	wantFault(t, err, fault.NotLinked)
	_, err = w.Cases.Open(t.Context(), w.alice.Member, "0000-0000-0000", support.Asked{})
	wantFault(t, err, fault.DeviceUnknown)
}

func TestManyAtOnceOpenOneCase(t *testing.T) {
	w := newWorld(t)
	var wg sync.WaitGroup
	numbers := make(chan string, 8)
	for range 8 {
		wg.Go(func() {
			c, err := w.Cases.Open(t.Context(), w.alice.Member, w.device.ID, support.Asked{})
			if err != nil {
				t.Error(err)
			}
			numbers <- c.Number
		})
	}
	wg.Wait()
	close(numbers)
	first := <-numbers
	for n := range numbers {
		if n != first {
			t.Fatalf("two cases: %s and %s", first, n)
		}
	}
}

func TestOneAccountHasEightOpenCasesAtMost(t *testing.T) {
	w := newWorld(t)
	w.open()
	for i := range 8 {
		d := w.Device(t)
		w.Link(t, d, w.Owner)
		_, err := w.Cases.Open(t.Context(), w.alice.Member, d.ID, support.Asked{})
		if i < 7 && err != nil {
			t.Fatal(err)
		}
		if i == 7 {
			wantFault(t, err, fault.RateLimited)
		}
	}
	mine, err := w.Cases.Owned(t.Context(), w.Owner.ID)
	if err != nil || len(mine) != 8 {
		t.Fatalf("%d %v", len(mine), err)
	}
	if theirs, err := w.Cases.Owned(t.Context(), w.Stranger.ID); err != nil || len(theirs) != 0 {
		t.Fatalf("%v %v", theirs, err)
	}
	all, err := w.Cases.List(t.Context(), support.Filter{Limit: 5})
	if err != nil || len(all) != 5 {
		t.Fatalf("%d %v", len(all), err)
	}
	if some, err := w.Cases.List(t.Context(), support.Filter{Device: w.device.ID, Account: w.Owner.ID, All: true, Limit: 5}); err != nil || len(some) != 1 {
		t.Fatalf("%d %v", len(some), err)
	}
}

func TestACodeIsGivenThreeTimesInACase(t *testing.T) {
	w := newWorld(t)
	number := w.approved(w.ask(w.open()), support.Ticket)
	w.Clock.Advance(support.ObjectionTime)
	_, err := w.act(number, support.Release)
	wantFault(t, err, fault.NotAuthorized) // of something else
	for range 3 {
		ticket, err := w.act(number, support.Ticket)
		if err != nil || strings.Count(ticket, ".") != 2 {
			t.Fatalf("%q %v", ticket, err)
		}
		if strings.Contains(w.Log.String(), ticket) {
			t.Fatal("the log holds the ticket")
		}
	}
	if w.outcome(number) != support.Answered || w.status() != device.Linked {
		t.Fatal(w.outcome(number))
	}
}

func TestACaseIsAboutOneOwner(t *testing.T) {
	w := newWorld(t)
	number := w.approved(w.ask(w.open()), support.Release)
	w.Clock.Advance(support.ObjectionTime)
	if _, err := w.Devices.Release(t.Context(), w.device.ID); err != nil {
		t.Fatal(err)
	}
	w.Link(t, w.device, w.Stranger)
	_, err := w.act(number, support.Release)
	wantFault(t, err, fault.NotLinked)
	if w.status() != device.Linked {
		t.Fatal("the next owner's device was released")
	}
	if next := w.open(); next == number || w.outcome(number) != support.Expired {
		t.Fatalf("the case of the owner before is %s", w.outcome(number))
	}
}

func TestNotesAreBoundedAndGoWithTheAccount(t *testing.T) {
	w := newWorld(t)
	number := w.open()
	for _, bad := range []string{"", "  ", strings.Repeat("x", 2001), "\xff"} {
		_, err := w.Cases.Note(t.Context(), w.alice.Member, number, bad)
		wantFault(t, err, fault.InvalidArgument)
	}
	_, err := w.Cases.Note(t.Context(), w.auditor.Member, number, "hello")
	wantFault(t, err, fault.NotAuthorized)
	c, err := w.Cases.Note(t.Context(), w.alice.Member, number, "called back\x1b[2J at noon")
	if err != nil || len(c.Notes) != 1 || c.Notes[0].Text != "called back[2J at noon" {
		t.Fatalf("%+v %v", c.Notes, err)
	}
	if err := w.Accounts.Delete(t.Context(), w.Owner.ID); err != nil {
		t.Fatal(err)
	}
	c, err = w.Cases.Get(t.Context(), number)
	if err != nil || c.Outcome != support.AccountDeleted || len(c.Notes) != 0 {
		t.Fatalf("%+v %v", c, err)
	}
	_, err = w.Cases.Note(t.Context(), w.alice.Member, number, "hello")
	wantFault(t, err, fault.WrongStep)
}

func TestCasesThatNobodyAsksForEndAndAreForgotten(t *testing.T) {
	w := newWorld(t)
	number := w.ask(w.open())
	w.Clock.Advance(31 * 24 * time.Hour)
	if err := w.Cases.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if w.outcome(number) != support.Expired {
		t.Fatal(w.outcome(number))
	}
	w.Clock.Advance(181 * 24 * time.Hour)
	if err := w.Cases.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := w.Cases.Get(t.Context(), number)
	wantFault(t, err, fault.InvalidArgument)
}

func TestANumberReadOutWrongIsNoCases(t *testing.T) {
	w := newWorld(t)
	number := w.open()
	for _, typed := range []string{number, strings.ReplaceAll(number, "-", " "), strings.ReplaceAll(number, "-", "")} {
		if got, err := support.ParseNumber(typed); err != nil || got != number {
			t.Errorf("%q: %q %v", typed, got, err)
		}
	}
	plain := strings.ReplaceAll(number, "-", "")
	for i := range len(plain) {
		for d := byte('0'); d <= '9'; d++ {
			if wrong := plain[:i] + string(d) + plain[i+1:]; wrong != plain {
				if _, err := support.ParseNumber(wrong); err == nil {
					t.Errorf("%s passes for %s", wrong, plain)
				}
			}
		}
		if i > 0 && plain[i] != plain[i-1] {
			swapped := plain[:i-1] + plain[i:i+1] + plain[i-1:i] + plain[i+1:]
			if _, err := support.ParseNumber(swapped); err == nil {
				t.Errorf("%s passes for %s", swapped, plain)
			}
		}
	}
	for _, bad := range []string{"", "1", "12345678a", strings.Repeat("0", 10), "١٢٣٤٥٦٧٨٩"} {
		if _, err := support.ParseNumber(bad); err == nil {
			t.Errorf("%q passes", bad)
		}
	}
}
