// SPDX-License-Identifier: Apache-2.0

package portal

import (
	"net/http"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/i18n"
	"github.com/accountlock/accountlock/internal/service/device"
	"github.com/accountlock/accountlock/internal/service/staff"
	"github.com/accountlock/accountlock/internal/service/support"
)

// casesShown bounds the list of cases.
const casesShown = 200

type casesData struct {
	All   bool
	Cases []support.Case
	// Device and Challenge are what the form to open one holds.
	Device, Challenge string
}

func (p *Portal) staffCases(w http.ResponseWriter, r *http.Request, m staff.Member) {
	p.casesWith(w, r, m, nil)
}

func (p *Portal) casesWith(w http.ResponseWriter, r *http.Request, m staff.Member, refused error) {
	if typed := r.URL.Query().Get("number"); typed != "" {
		if n, err := support.ParseNumber(typed); err == nil {
			redirect(w, r, "/staff/cases/"+n, "")
			return
		} else if refused == nil {
			refused = err
		}
	}
	d := casesData{All: r.URL.Query().Get("all") == "1", Device: r.PostForm.Get("device"), Challenge: r.PostForm.Get("challenge")}
	var err error
	if d.Cases, err = p.Cases.List(r.Context(), support.Filter{All: d.All, Limit: casesShown}); err != nil {
		p.fail(w, r, err)
		return
	}
	v := view{Title: i18n.Mark("Support cases"), Staff: &m, Data: d}
	p.shown(w, r, "staff-cases", v, refused)
}

func (p *Portal) staffOpen(w http.ResponseWriter, r *http.Request, m staff.Member) {
	id, ok := device.ParseID(r.PostForm.Get("device"))
	if !ok {
		p.casesWith(w, r, m, fault.Newf(fault.InvalidArgument, "This is no device ID."))
		return
	}
	t := p.tongueOf(r)
	c, err := p.Cases.Open(r.Context(), m, id, support.Asked{Challenge: r.PostForm.Get("challenge"), Region: t.Region()})
	if err != nil {
		p.casesWith(w, r, m, err)
		return
	}
	p.Sent()
	redirect(w, r, "/staff/cases/"+c.Number, "")
}

// caseData is what a case's page shows.
type caseData struct {
	support.Case

	Standing  support.Standing
	Questions []support.Question
	// Mine: who is signed in has approved already.
	Mine bool
	// Permitted: what was approved of may be done now.
	Permitted    bool
	Right, Wrong int
	// Answer is the code or the ticket that was given out just now, and Judged what
	// was found of an answer.
	Answer, Judged string
}

func (p *Portal) staffCase(w http.ResponseWriter, r *http.Request, m staff.Member) {
	p.caseWith(w, r, m, nil, nil)
}

// caseWith shows a case with a refusal, or changed by with.
func (p *Portal) caseWith(w http.ResponseWriter, r *http.Request, m staff.Member, refused error, with func(*caseData)) {
	c, err := p.Cases.Get(r.Context(), r.PathValue("number"))
	if fault.CodeOf(err) == fault.InvalidArgument {
		p.refuse(w, r, http.StatusNotFound, sayings.missing)
		return
	}
	if err != nil {
		p.fail(w, r, err)
		return
	}
	d := caseData{Case: c, Standing: p.Cases.Standing(c)}
	d.Permitted = d.Standing.Permits(p.Now())
	d.Right, d.Wrong = c.Tally()
	for _, by := range d.Standing.By {
		d.Mine = d.Mine || by == m.Name
	}
	if c.Outcome == support.Open && m.MayAct() == nil {
		if d.Questions, err = p.Cases.Questions(r.Context(), c); err != nil {
			p.fail(w, r, err)
			return
		}
	}
	if with != nil {
		with(&d)
	}
	v := view{Title: i18n.Mark("Support case"), Staff: &m, Data: d}
	p.shown(w, r, "staff-case", v, refused)
}

// caseDone goes back to the case, or shows what was refused.
func (p *Portal) caseDone(w http.ResponseWriter, r *http.Request, m staff.Member, err error, done string) {
	if err != nil {
		p.caseWith(w, r, m, err, nil)
		return
	}
	p.Sent()
	redirect(w, r, "/staff/cases/"+r.PathValue("number"), done)
}

func (p *Portal) staffNote(w http.ResponseWriter, r *http.Request, m staff.Member) {
	_, err := p.Cases.Note(r.Context(), m, r.PathValue("number"), r.PostForm.Get("text"))
	p.caseDone(w, r, m, err, "case-noted")
}

func (p *Portal) staffAnswer(w http.ResponseWriter, r *http.Request, m staff.Member) {
	right, _, err := p.Cases.Answer(r.Context(), m, r.PathValue("number"), r.PostForm.Get("question"), r.PostForm.Get("answer"))
	done := "answer-wrong"
	if right {
		done = "answer-right"
	}
	p.caseDone(w, r, m, err, done)
}

func (p *Portal) staffApprove(w http.ResponseWriter, r *http.Request, m staff.Member) {
	err := p.confirmed(r, m)
	if err == nil {
		_, err = p.Cases.Approve(r.Context(), m, r.PathValue("number"), support.Action(r.PostForm.Get("action")))
	}
	p.caseDone(w, r, m, err, "case-approved")
}

// staffAct does what was approved of. A code or a ticket is shown in the answer,
// and nowhere else.
func (p *Portal) staffAct(w http.ResponseWriter, r *http.Request, m staff.Member) {
	err := p.confirmed(r, m)
	var answer string
	if err == nil {
		answer, _, err = p.Cases.Act(r.Context(), m, r.PathValue("number"), support.Action(r.PostForm.Get("action")), r.PostForm.Get("challenge"))
	}
	if err != nil || answer == "" {
		p.caseDone(w, r, m, err, "case-acted")
		return
	}
	p.Sent()
	p.caseWith(w, r, m, nil, func(d *caseData) { d.Answer = answer })
}

func (p *Portal) staffClose(w http.ResponseWriter, r *http.Request, m staff.Member) {
	_, err := p.Cases.Close(r.Context(), m, r.PathValue("number"))
	p.caseDone(w, r, m, err, "case-closed")
}

// ownCase is a case as its owner sees it.
type ownCase struct {
	support.Case

	Standing support.Standing
}

// ownCases are the open cases about an account.
func (p *Portal) ownCases(w http.ResponseWriter, r *http.Request, s session) {
	all, err := p.Cases.Owned(r.Context(), s.AccountID)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	out := make([]ownCase, len(all))
	for i, c := range all {
		out[i] = ownCase{c, p.Cases.Standing(c)}
	}
	p.show(w, r, http.StatusOK, "cases", view{Title: i18n.Mark("Support cases about your account"), SignedIn: true, Data: out})
}

// stopOwn stops a case about the account of who is signed in. No password is asked
// for: it takes nothing from the owner.
func (p *Portal) stopOwn(w http.ResponseWriter, r *http.Request, s session) {
	if err := p.Cases.Stop(r.Context(), r.PostForm.Get("case"), s.AccountID, ""); err != nil && fault.CodeOf(err) != fault.InvalidCode {
		p.fail(w, r, err)
		return
	}
	redirect(w, r, "/support", "case-stopped")
}

// stopForm asks before it stops: programs that look at the links in a mail must not
// have stopped anything by it.
func (p *Portal) stopForm(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	p.show(w, r, http.StatusOK, "stop", view{Title: i18n.Mark("Stop a support case"), Data: stopData{ForCase: true, Case: q.Get("case"), Code: q.Get("code")}})
}

func (p *Portal) stopCase(w http.ResponseWriter, r *http.Request) {
	d := stopData{ForCase: true, Case: r.PostForm.Get("case"), Code: r.PostForm.Get("code")}
	v := view{Title: i18n.Mark("Stop a support case"), Data: d}
	if err := p.Cases.Stop(r.Context(), d.Case, "", d.Code); err != nil {
		if f := fault.As(err); f.Code == fault.InvalidCode {
			f.Message, f.Remedy = i18n.Mark("No open case has this number and code."), i18n.Mark("It may be stopped or over already. Open the link in the message once more.")
		}
		p.again(w, r, "stop", v, err)
		return
	}
	d.Over = true
	v.Data = d
	p.show(w, r, http.StatusOK, "stop", v)
}

// actions are what staff may approve of.
var actions = map[support.Action]string{
	support.Release: i18n.Mark("Release the device"), support.OfflineCode: i18n.Mark("Give out an offline code"),
	support.Ticket: i18n.Mark("Give out a ticket"), support.Found: i18n.Mark("Mark the device as found"),
}

// Action says what is approved of.
func (t tongue) Action(a support.Action) string { return t.T(actions[a]) }

// Actions are what can be approved of in a case.
func (d caseData) Actions() []support.Action {
	if d.Link.Status == device.Lost {
		return []support.Action{support.Found}
	}
	return []support.Action{support.Release, support.OfflineCode, support.Ticket}
}

// outcomes say how a case ended.
var outcomes = map[support.Outcome]string{
	support.Open: i18n.Mark("open"), support.Released: i18n.Mark("released"), support.FoundAgain: i18n.Mark("marked as found"),
	support.Answered: i18n.Mark("answered"), support.Stopped: i18n.Mark("stopped by the owner"), support.Closed: i18n.Mark("closed"),
	support.Expired: i18n.Mark("run out"), support.AccountDeleted: i18n.Mark("the account was deleted"),
}

// Outcome says how a case ended.
func (t tongue) Outcome(o support.Outcome) string { return t.T(outcomes[o]) }

// Question is the text of a question by its ID.
func (t tongue) Question(id string) string { return t.T(support.QuestionText(id)) }
