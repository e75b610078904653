// SPDX-License-Identifier: Apache-2.0

package ctl

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/accountlock/accountlock/internal/busclient"
)

// Command returns the tree of commands, for the manual and the completions.
func Command() *cobra.Command {
	return (&app{env: Env{Getenv: func(string) string { return "" }, Version: "devel"}}).root()
}

const rootLong = `accountlockctl shows and changes how this device is bound to its owner's account.

It speaks to accountlockd on the system bus (the environment variable
DBUS_SYSTEM_BUS_ADDRESS names another one). On a terminal it asks for what a step
needs, with the echo off for passwords; Ctrl-C ends a conversation. In a script the
answers come from --identifier, --password-file and --code-file, the command itself is the
consent, a step without an answer is an error, and a refused answer ends the command. No
flag takes a secret itself: the command line is for every process to read.

With --json every command prints one JSON object a line on standard output, errors
too: {"error": {"name", "message", "remedy", "counted"}}. 'name' is the D-Bus error name,
or 'Cancelled'; 'counted' says whether it counted as an attempt.`

func (a *app) root() *cobra.Command {
	version := false
	root := &cobra.Command{
		Use:               "accountlockctl COMMAND",
		Short:             "Show and change how this device is bound to its owner's account",
		Long:              rootLong,
		SilenceErrors:     true,
		SilenceUsage:      true,
		DisableAutoGenTag: true,
		Args:              cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if version {
				_, err := fmt.Fprintln(a.env.Stdout, "accountlockctl", a.env.Version)
				return err
			}
			return usage("A command is missing.")
		},
	}
	// By hand: cobra's own wants a template, which takes half a megabyte with it.
	root.Flags().BoolVarP(&version, "version", "v", false, "version for accountlockctl")
	root.PersistentFlags().BoolVar(&a.json, "json", false, "print JSON, errors too, on standard output")
	root.AddGroup(
		&cobra.Group{ID: "read", Title: "To see:"},
		&cobra.Group{ID: "flow", Title: "To change:"},
	)
	root.AddCommand(
		a.statusCommand(), a.explainCommand(), a.doctorCommand(), a.accountCommand(),
		a.supportCommand(), a.checkCommand(), a.checkInCommand(), a.monitorCommand(),
	)
	root.AddCommand(a.flowCommands()...)
	root.InitDefaultCompletionCmd()
	return root
}

// reading is a command that asks the daemon and prints what it says.
func (a *app) reading(use, short, long string, run func(ctx context.Context, c *busclient.Client) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Long: long, GroupID: "read",
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.connect(cmd.Context())
			if err != nil {
				return busclient.AsFailure(err)
			}
			defer c.Close()
			return ended(run(cmd.Context(), c))
		},
	}
}

// ended makes sure that what a command returns is a failure that can be shown.
func ended(err error) error {
	if _, ok := err.(exitStatus); ok || err == nil { //nolint:errorlint // exitStatus is never wrapped
		return err
	}
	return busclient.AsFailure(err)
}
