// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/accountlock/accountlock/internal/service/audit"
	"github.com/accountlock/accountlock/internal/service/device"
	"github.com/accountlock/accountlock/internal/service/support"
)

// eventsShown bounds the events that `device show` lists.
const eventsShown = 20

type deviceCommands struct {
	at   *place
	env  Env
	json bool
}

func deviceCommand(at *place, env Env) *cobra.Command {
	c := &deviceCommands{at: at, env: env}
	cmd := &cobra.Command{
		Use:   "device",
		Short: "Show and release devices, mark them lost or found, answer their challenges",
		Args:  subcommands("devices"),
		RunE:  noCommand,
	}
	cmd.PersistentFlags().BoolVar(&c.json, "json", false, "write JSON")
	cmd.AddCommand(
		c.command("show DEVICE-ID", "Show a device, its link and its newest events", nil),
		c.permitted("release DEVICE-ID", "End the link of a device: it is free at its next contact", support.Release, releaseLink),
		c.permitted("found DEVICE-ID", "End the message of a lost device; its owner unlocks it", support.Found, (*device.Registry).FindLink),
		c.lost(),
		c.offlineCode(),
		c.ticket(),
	)
	return cmd
}

// command returns a subcommand that does act, if any, to a device, and shows it.
func (c *deviceCommands) command(use, short string, act func(context.Context, *service, string) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: exactly(1, "one device ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.with(cmd, args[0], func(s *service, id string) error {
				if act != nil {
					if err := act(cmd.Context(), s, id); err != nil {
						return err
					}
				}
				return c.show(cmd, s, id)
			})
		},
	}
}

func (c *deviceCommands) lost() *cobra.Command {
	var message, contact string
	cmd := c.command("lost DEVICE-ID [--message TEXT] [--contact TEXT]", "Mark a device lost: it locks at its next contact",
		func(ctx context.Context, s *service, id string) error {
			return s.db.Tx(ctx, func(tx *sql.Tx) error {
				if _, err := s.devices.LoseLink(ctx, tx, id, message, contact); err != nil {
					return err
				}
				return s.trail.Append(ctx, tx, audit.Entry{Actor: audit.Console, Action: "device-lost", Device: id})
			})
		})
	cmd.Flags().StringVar(&message, "message", "", "what the finder reads, at most 500 characters")
	cmd.Flags().StringVar(&contact, "contact", "", "how the finder reaches the owner, at most 200 characters")
	return cmd
}

// show prints a device as it is then.
func (c *deviceCommands) show(cmd *cobra.Command, s *service, id string) error {
	d, err := s.devices.Show(cmd.Context(), id)
	if err != nil {
		return err
	}
	events, err := s.devices.Events(cmd.Context(), id, eventsShown)
	if err != nil {
		return err
	}
	return c.print(cmd.OutOrStdout(), d, events)
}

// shownDevice is a device in JSON.
type shownDevice struct {
	DeviceID string `json:"device_id"`
	Model    string `json:"model"`
	// Status is 'unlinked' for one that was never linked.
	Status      string         `json:"status"`
	Link        *shownLink     `json:"link,omitempty"`
	Lost        *shownLost     `json:"lost,omitempty"`
	Enrolled    time.Time      `json:"enrolled"`
	Seen        time.Time      `json:"seen"`
	PendingKeys int            `json:"pending_keys"`
	Events      []device.Event `json:"events"`
}

type shownLink struct {
	ID         string `json:"id"`
	Generation int64  `json:"generation"`
	AccountID  string `json:"account_id"`
	Hint       string `json:"hint,omitempty"`
	// Proven: made by a device that had proven what it is.
	Proven bool `json:"proven"`
}

type shownLost struct {
	Message string `json:"message"`
	Contact string `json:"contact"`
}

func (c *deviceCommands) print(w io.Writer, d device.Details, events []device.Event) error {
	out := shownDevice{
		DeviceID: d.DeviceID, Model: d.Model, Status: string(d.Link.Status), Enrolled: d.EnrolledAt, Seen: d.SeenAt,
		PendingKeys: d.PendingKeys, Events: events,
	}
	if d.Link.ID == "" {
		out.Status = string(device.Unlinked)
	} else {
		out.Link = &shownLink{ID: d.Link.ID, Generation: d.Link.Generation, AccountID: d.Link.AccountID, Hint: d.Link.Hint, Proven: d.Proven}
	}
	if d.Link.Status == device.Lost {
		out.Lost = &shownLost{Message: d.Link.LostMessage, Contact: d.Link.LostContact}
	}
	if c.json {
		return writeJSON(w, out)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(t, "%s\t%s\n", name, value)
		}
	}
	row("Device ID", out.DeviceID)
	row("Model", printable(out.Model))
	row("Status", out.Status)
	if out.Link != nil {
		row("Account ID", out.Link.AccountID)
		row("Hint", out.Link.Hint)
		row("Link", fmt.Sprintf("%s, generation %d", out.Link.ID, out.Link.Generation))
		row("Identity", map[bool]string{true: "proven", false: "unproven"}[out.Link.Proven])
	}
	if out.Lost != nil {
		row("Message", printable(out.Lost.Message))
		row("Contact", printable(out.Lost.Contact))
	}
	row("Enrolled", out.Enrolled.Format(time.RFC3339))
	row("Seen", out.Seen.Format(time.RFC3339))
	for _, e := range events {
		row("Event", e.At.UTC().Format(time.RFC3339)+" "+e.Kind+" "+printable(e.Detail))
	}
	return t.Flush()
}
