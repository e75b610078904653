// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/accountlock/accountlock/internal/service/audit"
	"github.com/accountlock/accountlock/internal/service/keys"
)

func keysCommand(at *place) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "Show and rotate the keys that grants and statements are signed with",
		Args:  subcommands("keys"),
		RunE:  noCommand,
	}
	// Both write JSON anyway, or a line that JSON is the same of.
	var asJSON bool
	cmd.PersistentFlags().BoolVar(&asJSON, "json", false, "write JSON")
	cmd.AddCommand(&cobra.Command{
		Use:   "show",
		Short: "Write the key set that a device's image holds, as JSON",
		Args:  exactly(0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ring, err := at.keys()
			if err != nil {
				return err
			}
			set, err := ring.DeviceFile()
			if err != nil {
				return storage(err)
			}
			b, err := set.Encode()
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(b)
			return err
		},
	}, &cobra.Command{
		Use:   "rotate",
		Short: "Make a new signing key and the key set that tells devices of it",
		Args:  exactly(0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ring, err := at.keys()
			if err != nil {
				return err
			}
			number, err := ring.Rotate()
			if err != nil {
				return storage(err)
			}
			if err := at.noteRotation(cmd.Context(), number); err != nil {
				return err
			}
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), map[string]int64{"number": number})
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "Key set %d is in use.\n", number)
			return err
		},
	})
	return cmd
}

// noteRotation notes a rotation in the audit trail, whose head is signed by the new
// key from then on.
func (p *place) noteRotation(ctx context.Context, number int64) error {
	s, err := p.open(ctx)
	if err != nil {
		return err
	}
	err = s.trail.Record(ctx, audit.Entry{Actor: audit.Console, Action: "keys-rotated", Detail: fmt.Sprintf("set %d", number)})
	return errors.Join(err, s.close())
}

// keys opens the keys of the place.
func (p *place) keys() (*keys.Ring, error) {
	cfg, err := p.load()
	if err != nil {
		return nil, err
	}
	if err := keys.Init(cfg.Keys.Directory); err != nil {
		return nil, storage(err)
	}
	ring, err := keys.Open(cfg.Keys.Directory, clock)
	return ring, storage(err)
}

// subcommands refuses what is none of a group's commands.
func subcommands(group string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) > 0 {
			return usage("There is no command %q for %s.", args[0], group)
		}
		return nil
	}
}

// noCommand refuses a group without any of its commands: a script that lost one must
// not go on as though it had been done.
func noCommand(cmd *cobra.Command, _ []string) error {
	return usage("A command is missing; %s --help lists them.", cmd.CommandPath())
}
