// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/accountlock/accountlock/internal/service/device"
)

// offlineCode is the command that answers the challenge which a device shows.
func (c *deviceCommands) offlineCode() *cobra.Command {
	return &cobra.Command{
		Use:   "offline-code DEVICE-ID CHALLENGE",
		Short: "Answer the challenge that a locked device shows; the owner is told",
		Args:  exactly(2, "a device ID and the challenge that it shows"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.with(cmd, args[0], func(s *service, id string) error {
				response, err := s.offline.Respond(cmd.Context(), id, args[1])
				if err != nil {
					return err
				}
				if c.json {
					return writeJSON(cmd.OutOrStdout(), map[string]string{"device_id": id, "response": response})
				}
				_, err = fmt.Fprintln(cmd.OutOrStdout(), response)
				return err
			})
		},
	}
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
