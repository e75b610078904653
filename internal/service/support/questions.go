// SPDX-License-Identifier: Apache-2.0

package support

import (
	"context"
	"database/sql"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/i18n"
	"github.com/accountlock/accountlock/internal/service/account"
	"github.com/accountlock/accountlock/internal/service/staff"
	"github.com/accountlock/accountlock/internal/service/store"
)

// maxTries is how often one question can be answered in a case.
const maxTries = 2

// The last sign-in is nearly always this month and the number of devices small: right
// answers to weak questions alone prove nothing. A month or a small number, which a
// second guess often finds, is answered once.
var (
	weak = []string{"sign-in", "devices"}
	once = []string{"created", "linked", "sign-in", "devices"}
)

// Question is one about the account's history. Staff ask it and type what was
// answered; they are told whether it is right and never what would be, so that
// they can neither help nor learn. None can be answered from what a locked device
// shows.
type Question struct {
	ID string
	// Text is the question, in English, and Form how the answer is typed.
	Text, Form string
	// right tells whether an answer, in lower case and trimmed, is.
	right func(f facts, answer string) bool
	// asked tells whether the account's history has an answer.
	asked func(f facts) bool
}

// facts are what the account service knows.
type facts struct {
	account.Account

	devices int64
	// models are those of the account's devices but the one in question.
	models []string
	linked time.Time
	signed time.Time
}

// questions are all of them, in the order in which they are best asked.
var questions = []Question{
	{
		"account-id", i18n.Mark("What is the account ID?"), i18n.Mark("8 to 10 digits"),
		func(f facts, a string) bool { return digits(a) == f.ID },
		func(facts) bool { return true },
	},
	{
		"created", i18n.Mark("When was the account made?"), i18n.Mark("year and month, such as 2024-05"),
		func(f facts, a string) bool { return near(a, f.Created) },
		func(facts) bool { return true },
	},
	{
		"linked", i18n.Mark("When was this device linked to the account?"), i18n.Mark("year and month, such as 2024-05"),
		func(f facts, a string) bool { return near(a, f.linked) },
		func(f facts) bool { return !f.linked.IsZero() },
	},
	{
		"sign-in", i18n.Mark("When did the owner last sign in?"), i18n.Mark("year and month, such as 2024-05"),
		func(f facts, a string) bool { return near(a, f.signed) },
		func(f facts) bool { return !f.signed.IsZero() },
	},
	{
		"devices", i18n.Mark("How many devices belong to the account?"), i18n.Mark("a number"),
		func(f facts, a string) bool {
			n, err := strconv.ParseInt(a, 10, 64)
			return err == nil && n == f.devices
		},
		func(facts) bool { return true },
	},
	{
		"model", i18n.Mark("What is the model of another device of the account?"), i18n.Mark("its name, or a part of it"),
		func(f facts, a string) bool {
			return slices.ContainsFunc(f.models, func(m string) bool { return names(m, a) })
		},
		func(f facts) bool { return len(f.models) > 0 },
	},
	{
		"email", i18n.Mark("What is an e-mail address of the account, in full?"), i18n.Mark("the whole address"),
		func(f facts, a string) bool {
			return slices.ContainsFunc(f.Identifiers, func(i account.Identifier) bool {
				return i.Kind == account.KindEmail && strings.EqualFold(i.Address, a)
			})
		},
		func(f facts) bool { return has(f, account.KindEmail) },
	},
	{
		"phone", i18n.Mark("What are the last five digits of a phone number of the account?"), i18n.Mark("five digits"),
		func(f facts, a string) bool {
			return slices.ContainsFunc(f.Identifiers, func(i account.Identifier) bool {
				return i.Kind == account.KindPhone && len(digits(a)) == 5 && strings.HasSuffix(i.Value, digits(a))
			})
		},
		func(f facts) bool { return has(f, account.KindPhone) },
	},
}

// QuestionText is the text of a question, in English, by its ID; the ID where there
// is none such any more.
func QuestionText(id string) string {
	for _, q := range questions {
		if q.ID == id {
			return q.Text
		}
	}
	return id
}

func has(f facts, k account.Kind) bool {
	return slices.ContainsFunc(f.Identifiers, func(i account.Identifier) bool { return i.Kind == k })
}

func digits(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, s)
}

// near reports whether a month that was typed is that of a time, or one beside it:
// nobody remembers better.
func near(typed string, at time.Time) bool {
	month, err := time.Parse("2006-01", typed)
	if err != nil {
		return false
	}
	months := func(t time.Time) int { return t.Year()*12 + int(t.Month()) }
	off := months(month) - months(at.UTC())
	return off >= -1 && off <= 1
}

// names reports whether a model was named, by a part of at least four letters and
// digits.
func names(model, typed string) bool {
	bare := func(s string) string {
		return strings.Map(func(r rune) rune {
			if unicode.IsLetter(r) || unicode.IsDigit(r) {
				return unicode.ToLower(r)
			}
			return -1
		}, s)
	}
	return len(bare(typed)) >= 4 && strings.Contains(bare(model), bare(typed))
}

// factsOf reads what an answer is compared with.
func (s *Service) factsOf(ctx context.Context, c Case) (facts, error) {
	a, err := s.Accounts.Get(ctx, c.AccountID)
	if err != nil {
		return facts{}, err
	}
	f := facts{Account: a}
	err = s.DB.Read(ctx, func(tx *sql.Tx) error {
		var linked, used, signed int64
		// A sign-in is one in the portal, or the account's check on a device of it.
		err := tx.QueryRowContext(ctx, `SELECT
(SELECT COUNT(*) FROM links WHERE account_id = $1 AND status IN ('linked', 'lost', 'signed-out')),
(SELECT created_at FROM links WHERE id = $2),
(SELECT COALESCE(MAX(created_at), 0) FROM portal_sessions WHERE account_id = $1 AND stage = 'in'),
(SELECT COALESCE(MAX(e.noted_at), 0) FROM device_events e JOIN links l ON l.device_id = e.device_id
WHERE l.account_id = $1 AND e.batch = '' AND e.kind IN ('link', 'unlock', 'sign-out', 'unlink', 'allow-reset') AND e.noted_at >= l.created_at)`,
			c.AccountID, c.LinkID).Scan(&f.devices, &linked, &signed, &used)
		if err != nil {
			return err
		}
		f.linked, f.signed = timeOf(linked), timeOf(max(signed, used))
		f.models, err = store.Collect(ctx, tx, store.One[string], `SELECT DISTINCT d.model FROM links l JOIN devices d ON d.id = l.device_id AND d.link_id = l.id
WHERE l.account_id = $1 AND l.status IN ('linked', 'lost', 'signed-out') AND d.model <> '' AND d.model <> $2`, c.AccountID, c.Model)
		return err
	})
	return f, wrap("read an account's history", err)
}

// Questions returns those that can be asked in a case and were not yet answered
// rightly, nor wrongly too often. Staff hear by it that the account has such a thing,
// and nothing else of it.
func (s *Service) Questions(ctx context.Context, c Case) ([]Question, error) {
	f, err := s.factsOf(ctx, c)
	if err != nil {
		return nil, err
	}
	var out []Question
	for _, q := range questions {
		if q.asked(f) && c.takes(q.ID) == nil {
			out = append(out, q)
		}
	}
	return out, nil
}

// takes returns nil if a question can be answered once more.
func (c Case) takes(question string) error {
	tries := 0
	for _, a := range c.Answers {
		if a.Question != question {
			continue
		}
		if tries++; a.Right {
			return fault.Newf(fault.InvalidArgument, "This question was answered rightly before.")
		}
	}
	if tries >= maxTries || tries > 0 && slices.Contains(once, question) {
		return fault.Newf(fault.InvalidArgument, "This question was answered wrongly too often: ask another one.")
	}
	return nil
}

// Answer compares what was answered to a question, keeps whether it was right, and
// forgets the answer. Errors are faults: InvalidArgument (no such question, or it was
// answered before; no text), WrongStep, NotAuthorized.
func (s *Service) Answer(ctx context.Context, by staff.Member, number, question, answer string) (right bool, c Case, err error) {
	if err := by.MayAct(); err != nil {
		return false, Case{}, err
	}
	if answer, err = plain(answer, 254); err != nil {
		return false, Case{}, err
	}
	at := slices.IndexFunc(questions, func(q Question) bool { return q.ID == question })
	if at < 0 {
		return false, Case{}, fault.Newf(fault.InvalidArgument, "There is no such question.")
	}
	if c, err = s.Get(ctx, number); err != nil {
		return false, Case{}, err
	}
	f, err := s.factsOf(ctx, c)
	if err != nil {
		return false, Case{}, err
	}
	if !questions[at].asked(f) {
		return false, Case{}, fault.Newf(fault.InvalidArgument, "The account's history has no answer to this question.")
	}
	right = questions[at].right(f, strings.ToLower(answer))
	c, err = s.change(ctx, number, func(tx *sql.Tx, c Case) error {
		if err := c.takes(question); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO case_answers (case_number, position, question, staff, at, correct) VALUES ($1, $2, $3, $4, $5, $6)`,
			c.Number, len(c.Answers)+1, question, by.Name, s.now().UnixMilli(), boolean(right))
		if err != nil {
			return err
		}
		word := "wrong"
		if right {
			word = "right"
		}
		return s.note(ctx, tx, c, by.Name, "question-asked", question+": "+word)
	})
	return right, c, err
}
