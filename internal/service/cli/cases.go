// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/accountlock/accountlock/internal/service/device"
	"github.com/accountlock/accountlock/internal/service/staff"
	"github.com/accountlock/accountlock/internal/service/support"
)

// casesShown bounds what `support case list` lists.
const casesShown = 200

func (c *supportCommands) cases() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "case",
		Short: "Open, show, list, note, ask in and close cases",
		Args:  subcommands("cases"),
		RunE:  noCommand,
	}
	cmd.AddCommand(c.caseOpen(), c.caseShow(), c.caseList(), c.caseNote(), c.caseAsk(), c.caseClose())
	return cmd
}

// acting returns a command that a member of staff does something by.
func (c *supportCommands) acting(use, short, takes string, do func(*cobra.Command, *service, staff.Member, []string) error) *cobra.Command {
	var who credentials
	cmd := &cobra.Command{
		Use: use + " --staff NAME --password-file FILE --code-file FILE", Short: short, Args: exactly(1, takes),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.with(cmd.Context(), func(s *service) error {
				m, err := who.prove(cmd, s)
				if err != nil {
					return err
				}
				return do(cmd, s, m, args)
			})
		},
	}
	who.flags(cmd)
	return cmd
}

func (c *supportCommands) caseOpen() *cobra.Command {
	var a support.Asked
	cmd := c.acting("open DEVICE-ID", "Open a case about a device, or find the one that is open; its owner is told", "one device ID",
		func(cmd *cobra.Command, s *service, m staff.Member, args []string) error {
			id, ok := device.ParseID(args[0])
			if !ok {
				return usage("%q is not a device ID such as 7K2M-0QXA-9TBD.", args[0])
			}
			opened, err := s.cases.Open(cmd.Context(), m, id, a)
			if err != nil {
				return err
			}
			return c.printCase(cmd, s, opened)
		})
	cmd.Flags().StringVar(&a.Challenge, "challenge", "", "the ten digits that the device shows")
	cmd.Flags().StringVar(&a.Region, "region", "", "where the person is (ISO 3166-1 alpha-2)")
	cmd.Flags().StringVar(&a.Locale, "locale", "", "the person's language (BCP 47)")
	return cmd
}

func (c *supportCommands) caseShow() *cobra.Command {
	return &cobra.Command{
		Use: "show NUMBER", Short: "Show a case, its notes, answers and approvals", Args: exactly(1, "one case number"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.with(cmd.Context(), func(s *service) error {
				one, err := s.cases.Get(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				return c.printCase(cmd, s, one)
			})
		},
	}
}

func (c *supportCommands) caseList() *cobra.Command {
	f := support.Filter{Limit: casesShown}
	cmd := &cobra.Command{
		Use: "list [--all|--device DEVICE-ID|--account ID]", Short: "List the cases that are open, the newest first", Args: exactly(0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.with(cmd.Context(), func(s *service) error {
				all, err := s.cases.List(cmd.Context(), f)
				if err != nil {
					return err
				}
				out := make([]shownCase, len(all))
				for i, one := range all {
					out[i] = showCase(one)
				}
				return c.tell(cmd, map[string]any{"cases": out}, func(w io.Writer) {
					for _, o := range out {
						fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", o.Number, o.State, o.DeviceID, at(o.Opened), o.OpenedBy)
					}
				})
			})
		},
	}
	cmd.Flags().BoolVar(&f.All, "all", false, "all, closed ones too")
	cmd.Flags().StringVar(&f.Device, "device", "", "those about a device, closed ones too")
	cmd.Flags().StringVar(&f.Account, "account", "", "those about an account, by its account ID, closed ones too")
	return cmd
}

func (c *supportCommands) caseNote() *cobra.Command {
	var file string
	cmd := c.acting("note NUMBER --text-file FILE|-", "Write something down in a case", "one case number",
		func(cmd *cobra.Command, s *service, m staff.Member, args []string) error {
			text, err := readText(cmd, file)
			if err != nil {
				return err
			}
			one, err := s.cases.Note(cmd.Context(), m, args[0], text)
			if err != nil {
				return err
			}
			return c.printCase(cmd, s, one)
		})
	cmd.Flags().StringVar(&file, "text-file", "", "read the note from this file, or from standard input if it is -")
	return cmd
}

func (c *supportCommands) caseAsk() *cobra.Command {
	var question, file string
	cmd := c.acting("ask NUMBER [--question ID --answer-file FILE|-]", "Show the questions to ask, or have an answer judged", "one case number",
		func(cmd *cobra.Command, s *service, m staff.Member, args []string) error {
			if question == "" {
				return c.printQuestions(cmd, s, args[0])
			}
			text, err := readText(cmd, file)
			if err != nil {
				return err
			}
			right, one, err := s.cases.Answer(cmd.Context(), m, args[0], question, text)
			if err != nil {
				return err
			}
			r, w := one.Tally()
			return c.tell(cmd, map[string]any{"case": one.Number, "question": question, "right": right, "answers_right": r, "answers_wrong": w}, func(out io.Writer) {
				word := "wrong"
				if right {
					word = "right"
				}
				fmt.Fprintf(out, "The answer is %s. In this case: %d right, %d wrong.\n", word, r, w)
			})
		})
	cmd.Long = "Without --question the questions are shown that can be asked. With it, what the person answered is compared with\n" +
		"the account's history: the command says whether it is right, keeps that, and forgets the answer. An answer comes from\n" +
		"a file, since a command line can be read by others."
	cmd.Flags().StringVar(&question, "question", "", "the question that was answered")
	cmd.Flags().StringVar(&file, "answer-file", "", "read the answer from this file, or from standard input if it is -")
	return cmd
}

func (c *supportCommands) printQuestions(cmd *cobra.Command, s *service, number string) error {
	one, err := s.cases.Get(cmd.Context(), number)
	if err != nil {
		return err
	}
	all, err := s.cases.Questions(cmd.Context(), one)
	if err != nil {
		return err
	}
	type shown struct {
		ID       string `json:"id"`
		Question string `json:"question"`
		Form     string `json:"form"`
	}
	out := make([]shown, len(all))
	for i, q := range all {
		out[i] = shown{q.ID, q.Text, q.Form}
	}
	return c.tell(cmd, map[string]any{"case": one.Number, "questions": out}, func(w io.Writer) {
		for _, q := range out {
			fmt.Fprintf(w, "%s\t%s\t%s\n", q.ID, q.Question, q.Form)
		}
	})
}

func (c *supportCommands) caseClose() *cobra.Command {
	return c.acting("close NUMBER", "Close a case without doing anything", "one case number",
		func(cmd *cobra.Command, s *service, m staff.Member, args []string) error {
			one, err := s.cases.Close(cmd.Context(), m, args[0])
			if err != nil {
				return err
			}
			return c.printCase(cmd, s, one)
		})
}

func (c *supportCommands) approve() *cobra.Command {
	action := string(support.Release)
	cmd := c.acting("approve NUMBER [--for release|offline-code|ticket|found]", "Approve of what shall be done in a case; two members have to", "one case number",
		func(cmd *cobra.Command, s *service, m staff.Member, args []string) error {
			one, err := s.cases.Approve(cmd.Context(), m, args[0], support.Action(action))
			if err != nil {
				return err
			}
			return c.printCase(cmd, s, one)
		})
	cmd.Long = "Notes that a member of staff approves of releasing the device of a case, of giving out an offline code or a ticket, or\n" +
		"of finding it. Two different members have to, within a day of each other; the owner is told each time and can stop the\n" +
		"case for four hours after the second. Then `device release`, `offline-code`, `ticket` or `found` do it with --case, for a day."
	cmd.Flags().StringVar(&action, "for", action, "what is approved of")
	return cmd
}

// maxText bounds, in bytes, what is read of a note or an answer.
const maxText = 16 << 10

// readText returns what a file or standard input ('-') holds.
func readText(cmd *cobra.Command, path string) (string, error) {
	if path == "" {
		return "", usage("The file must be given, or - for standard input.")
	}
	r := cmd.InOrStdin()
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return "", usage("The file cannot be read: %s.", reason(err))
		}
		defer f.Close()
		r = f
	}
	b, err := io.ReadAll(io.LimitReader(r, maxText))
	if err != nil {
		return "", usage("The file cannot be read: %s.", reason(err))
	}
	return strings.TrimSpace(string(b)), nil
}

// shownCase is a case in JSON.
type shownCase struct {
	Number    string    `json:"number"`
	State     string    `json:"state"`
	DeviceID  string    `json:"device_id"`
	Model     string    `json:"model,omitempty"`
	AccountID string    `json:"account_id"`
	Challenge string    `json:"challenge,omitempty"`
	Proven    bool      `json:"proven"`
	Region    string    `json:"region,omitempty"`
	Locale    string    `json:"locale,omitempty"`
	OpenedBy  string    `json:"opened_by"`
	Opened    time.Time `json:"opened"`

	Link      string          `json:"link,omitempty"`
	Right     int             `json:"answers_right"`
	Wrong     int             `json:"answers_wrong"`
	Answers   []shownAnswer   `json:"answers,omitempty"`
	Notes     []shownNote     `json:"notes,omitempty"`
	Approvals []shownApproval `json:"approvals,omitempty"`
	// Action, From and Until are what may be done, and when.
	Action string     `json:"approved_for,omitempty"`
	From   *time.Time `json:"from,omitempty"`
	Until  *time.Time `json:"until,omitempty"`
}

type shownAnswer struct {
	Question string    `json:"question"`
	Staff    string    `json:"staff"`
	Time     time.Time `json:"time"`
	Right    bool      `json:"right"`
}

type shownNote struct {
	Staff string    `json:"staff"`
	Time  time.Time `json:"time"`
	Text  string    `json:"text"`
}

type shownApproval struct {
	Staff  string    `json:"staff"`
	Action string    `json:"action"`
	Time   time.Time `json:"time"`
}

func showCase(c support.Case) shownCase {
	out := shownCase{
		Number: c.Number, State: string(c.Outcome), DeviceID: c.DeviceID, Model: c.Model, AccountID: c.AccountID, Challenge: c.Challenge,
		Proven: c.Proven, Region: c.Region, Locale: c.Locale, OpenedBy: c.OpenedBy, Opened: c.Opened, Link: string(c.Link.Status),
	}
	if c.Outcome == support.Open {
		out.State = "open"
	}
	out.Right, out.Wrong = c.Tally()
	for _, a := range c.Answers {
		out.Answers = append(out.Answers, shownAnswer{a.Question, a.Staff, a.At, a.Right})
	}
	for _, n := range c.Notes {
		out.Notes = append(out.Notes, shownNote{n.Staff, n.At, n.Text})
	}
	for _, a := range c.Approvals {
		out.Approvals = append(out.Approvals, shownApproval{a.Staff, string(a.Action), a.At})
	}
	return out
}

func (c *supportCommands) printCase(cmd *cobra.Command, s *service, one support.Case) error {
	out := showCase(one)
	if st := s.cases.Standing(one); st.Action != "" {
		out.Action = string(st.Action)
		out.From, out.Until = timeOrNil(st.From), timeOrNil(st.Until)
	}
	return c.tell(cmd, out, func(w io.Writer) {
		for _, row := range [][2]string{
			{"Case", out.Number},
			{"State", out.State},
			{"Device ID", out.DeviceID},
			{"Model", printable(out.Model)},
			{"Link", out.Link},
			{"Account ID", out.AccountID},
			{"Challenge", out.Challenge},
			{"Asked for by the device itself", yesNo(out.Proven)},
			{"Region", printable(out.Region)},
			{"Language", printable(out.Locale)},
			{"Opened", at(out.Opened) + " by " + out.OpenedBy},
			{"Answers", fmt.Sprintf("%d right, %d wrong", out.Right, out.Wrong)},
			{"Approved for", out.Action},
			{"From", timeText(out.From)},
			{"Until", timeText(out.Until)},
		} {
			if row[1] != "" {
				fmt.Fprintf(w, "%s\t%s\n", row[0], row[1])
			}
		}
		for _, a := range out.Approvals {
			fmt.Fprintf(w, "Approval\t%s by %s, of %s\n", at(a.Time), a.Staff, a.Action)
		}
		for _, n := range out.Notes {
			fmt.Fprintf(w, "Note\t%s by %s: %s\n", at(n.Time), n.Staff, printable(n.Text))
		}
	})
}
