// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/accountlock/accountlock/internal/service/device"
	"github.com/accountlock/accountlock/internal/service/offline"
	"github.com/accountlock/accountlock/internal/service/support"
)

// offlineCode is the command that answers the challenge which a device shows.
func (c *deviceCommands) offlineCode() *cobra.Command {
	return c.answering("offline-code", "Answer the challenge that a locked device shows; the owner is told", "response",
		support.OfflineCode, (*offline.Service).RespondIn)
}

// ticket is the command that signs a grant for that challenge.
func (c *deviceCommands) ticket() *cobra.Command {
	return c.answering("ticket", "Sign a ticket, to be carried to the device, for the challenge that it shows; the owner is told", "ticket",
		support.Ticket, (*offline.Service).TicketIn)
}

// answering returns a command that prints what act gives for a device and its
// challenge; name is its key in JSON.
func (c *deviceCommands) answering(use, short, name string, a support.Action, act func(*offline.Service, context.Context, *sql.Tx, string, string) (string, error)) *cobra.Command {
	var p permit
	cmd := &cobra.Command{
		Use: use + " DEVICE-ID CHALLENGE --case NUMBER", Short: short, Long: short + ".\n" + permitLong,
		Args: exactly(2, "a device ID and the challenge that it shows"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.with(cmd, args[0], func(s *service, id string) error {
				answer, err := c.permit(cmd, s, p, a, id, args[1], func(tx *sql.Tx) (string, error) {
					return act(s.offline, cmd.Context(), tx, id, args[1])
				})
				if err != nil {
					return err
				}
				if c.json {
					return writeJSON(cmd.OutOrStdout(), map[string]string{"device_id": id, name: answer})
				}
				_, err = fmt.Fprintln(cmd.OutOrStdout(), answer)
				return err
			})
		},
	}
	p.flags(cmd)
	return cmd
}

// with runs do with the service of the place and a device ID as it was typed.
func (c *deviceCommands) with(cmd *cobra.Command, typed string, do func(*service, string) error) (err error) {
	id, ok := device.ParseID(typed)
	if !ok {
		return usage("%q is not a device ID such as 7K2M-0QXA-9TBD.", typed)
	}
	ctx := cmd.Context()
	s, err := c.at.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.finish(ctx, c.env.Stderr)) }()
	return do(s, id)
}
