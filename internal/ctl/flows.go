// SPDX-License-Identifier: Apache-2.0

package ctl

import (
	"context"
	"unicode/utf8"

	"github.com/godbus/dbus/v5"
	"github.com/spf13/cobra"

	"github.com/accountlock/accountlock/internal/busclient"
	"github.com/accountlock/accountlock/internal/console"
)

// flowCommand names a command and the method that begins its flow. What the
// flow then asks is for the daemon to say.
type flowCommand struct {
	use, method, short, long string
}

var flowTable = []flowCommand{
	{"link", "Link", "Sign an account in on this device", `Signs an account in on an unlinked or signed-out device, and arms the lock: after a
factory reset the device then asks for this account. The recovery code is shown once. In a
script, with a --password-file and no terminal, the command is the consent, and keeping the
code is the script's: it is printed as 'Recovery code: …', with --json as "recovery_code".`},
	{"unlock", "Unlock", "Open a locked device with its owner's account", `Opens a device that is locked, after a factory reset or because it was lost. Without
--identifier the account that the device names (its hint) is meant. Without a network,
--method offline-code shows a challenge; the account service answers it with a code, or with
a ticket in a file, which --grant takes. --method approve shows an address, a code and the
same to scan, and waits until the owner has approved on another device. With --json what
has to be told elsewhere is one line on standard error: {"step", "challenge", "device_id"}, with
"case_number" after --method support, or {"step", "uri", "uri_complete", "user_code", "expires"}.`},
	{"sign-out", "SignOut", "Take the account off this device", `Takes the account off this device and disarms the lock. The account service goes on
listing the device under the account; signing in again is quick.`},
	{"unlink", "Unlink", "End the ownership of this device", `Ends the ownership on both sides: afterwards the device can be given away. It prints
the account service's signed receipt with --json, as "receipt".`},
	{"recover", "Recover", "Recover a forgotten password or account ID", `Begins the recovery of a forgotten password or account ID.`},
	{"factory-reset", "Reset", "Reset this device to its factory state", `Begins a trusted factory reset: a linked device asks for the password now, and for no
account after the reset. A reset by any other way ends at the account check.`},
}

const flowNotes = `

With --json it prints {"flow", "outcome", "state", "lock_reason"}, and "warning" (as an
error) where something is left to be done.`

// flowOptions are the flags of one flow command.
type flowOptions struct {
	answers
	method, locale, region string
	grantFile              string
	unlink                 bool
}

func (a *app) flowCommands() []*cobra.Command {
	cmds := make([]*cobra.Command, 0, len(flowTable))
	for _, f := range flowTable {
		cmds = append(cmds, a.flowCommand(f))
	}
	return cmds
}

func (a *app) flowCommand(f flowCommand) *cobra.Command {
	var o flowOptions
	cmd := &cobra.Command{
		Use: f.use, Short: f.short, Long: f.long + flowNotes, GroupID: "flow",
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return ended(a.converse(cmd.Context(), f.method, &o))
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.identifier, "identifier", "", "the account: its `ID`, e-mail address or phone number")
	flags.StringVar(&o.passwordFile, "password-file", "", "read the password from `FILE`; - is standard input")
	flags.StringVar(&o.codeFile, "code-file", "", "read the code from `FILE`; - is standard input")
	flags.BoolVar(&o.yes, "yes", false, "confirm on a terminal too what the flow asks to confirm")
	flags.StringVar(&o.method, "method", "", "take another way: `NAME` is password, approve, offline-code, recovery-code, recover or support")
	flags.StringVar(&o.locale, "locale", a.env.locale(), "the person's language, as BCP 47 writes it")
	flags.StringVar(&o.region, "region", "", "the person's region, as ISO 3166-1 writes it")
	if f.method == "Unlock" {
		flags.StringVar(&o.grantFile, "grant", "", "open with the ticket in `FILE`, fetched for the challenge that the device shows; - is standard input")
		cmd.MarkFlagsMutuallyExclusive("grant", "method")
		cmd.MarkFlagsMutuallyExclusive("grant", "code-file")
	}
	if f.method == "Reset" {
		flags.BoolVar(&o.unlink, "unlink", false, "end the ownership too")
	}
	// What the environment says is no default to print in a manual.
	flags.Lookup("locale").DefValue = ""
	for flag, words := range map[string][]string{
		"method": {"password", "approve", "offline-code", "recovery-code", "recover", "support"},
	} {
		_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
	}
	for _, flag := range []string{"identifier", "locale", "region"} {
		_ = cmd.RegisterFlagCompletionFunc(flag, cobra.NoFileCompletions)
	}
	return cmd
}

// converse begins a flow and holds the conversation.
func (a *app) converse(ctx context.Context, method string, o *flowOptions) error {
	if o.grantFile != "" {
		// A ticket is the signed answer to an offline code's challenge.
		o.method, o.codeFile = "offline-code", o.grantFile
	}
	if o.passwordFile == "-" && o.codeFile == "-" {
		return usage("Standard input can hold the password or the code, not both.")
	}
	if err := readable(o.identifier, o.locale, o.region); err != nil {
		return err
	}
	o.stdin = a.env.Stdin
	c, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	flow, err := c.Begin(ctx, method, o.options(method))
	if err != nil {
		return err
	}
	conv := &conversation{flow: flow, draw: newDrawer(a.env, a.json), answers: &o.answers}
	if a.json {
		conv.notes = a.env.Stderr
	}
	if a.env.Terminal != nil && !a.json {
		conv.person = &person{term: a.env.Terminal, draw: conv.draw}
	}
	res, err := conv.run(ctx, o.method)
	conv.draw.endLine()
	if err != nil {
		return a.failedFlow(res, err)
	}
	return a.answer(res, func() { a.showResult(res) })
}

// readable refuses what the bus carries no text of.
func readable(typed ...string) error {
	for _, s := range typed {
		if !utf8.ValidString(s) {
			return usage("What was typed holds characters that cannot be read.")
		}
	}
	return nil
}

func (o *flowOptions) options(method string) map[string]dbus.Variant {
	out := map[string]dbus.Variant{}
	if o.locale != "" {
		out["locale"] = dbus.MakeVariant(o.locale)
	}
	if o.region != "" {
		out["region"] = dbus.MakeVariant(o.region)
	}
	if method == "Reset" && o.unlink {
		out["unlink"] = dbus.MakeVariant(true)
	}
	return out
}

func (a *app) showResult(res flowResult) {
	if res.Warning != nil {
		newDrawer(a.env, false).refusal(res.Warning)
	}
	a.showCode(res)
	a.printf("State: %s\n", status(res.State, res.LockReason))
}

// showCode prints the recovery code where a script, which saw no step, has to
// keep it.
func (a *app) showCode(res flowResult) {
	if res.RecoveryCode != "" {
		a.printf("Recovery code: %s\n", console.Clean(res.RecoveryCode))
	}
}

// failedFlow is for a flow that did not get to its end. A recovery code that
// may be in force by then is not kept from its owner.
func (a *app) failedFlow(res flowResult, err error) error {
	if res.RecoveryCode == "" {
		return err
	}
	f := busclient.AsFailure(err)
	if a.json {
		if perr := printJSON(a.env.Stdout, map[string]any{"error": f, "recovery_code": res.RecoveryCode}); perr != nil {
			return perr
		}
		return exitStatus(ExitCodeOf(f.Name))
	}
	a.showCode(res)
	return f
}

// status is a state with its reason, as people read it.
func status(state, reason string) string {
	if reason == "" {
		return console.Clean(state)
	}
	return console.Clean(state) + " (" + console.Clean(reason) + ")"
}
