// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"

	"github.com/spf13/cobra"

	"github.com/accountlock/accountlock/internal/service/account"
	"github.com/accountlock/accountlock/internal/service/config"
)

// Env is what a process has besides its arguments.
type Env struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// Run is accountlock-server: it runs one command until it is done or ctx ends, and
// returns the exit code.
func Run(ctx context.Context, args []string, env Env) int {
	cmd := rootCommand(env)
	cmd.SetArgs(args)
	cmd.SetIn(env.Stdin)
	cmd.SetOut(env.Stdout)
	cmd.SetErr(env.Stderr)
	err := cmd.ExecuteContext(ctx)
	if err == nil {
		return ExitDone
	}
	if errors.Is(err, errNotConforming) {
		return ExitFailed
	}
	if werr := WriteError(env.Stderr, err, slices.Contains(args, "--json")); werr != nil {
		return ExitFailed
	}
	return Exit(err)
}

func rootCommand(env Env) *cobra.Command {
	root := &cobra.Command{
		Use:           "accountlock-server",
		Short:         "The reference account service of accountlock",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs, // so that RunE refuses an unknown command, with a fault
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage("There is no command %q.", args[0])
			}
			return noCommand(cmd, args)
		},
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage("%s.", err) })
	at := &place{log: env.Stderr}
	accounts := AccountCommand(func(ctx context.Context) (*account.Service, func() error, error) {
		s, err := at.open(ctx)
		if err != nil {
			return nil, nil, err
		}
		return s.atConsole(at.data != ""), func() error { return s.finish(ctx, env.Stderr) }, nil
	})
	for _, cmd := range []*cobra.Command{accounts, deviceCommand(at, env), supportCommand(at, env), keysCommand(at), migrateCommand(at), restoreCommand(at)} {
		at.flags(cmd)
		root.AddCommand(cmd)
	}
	root.AddCommand(serveCommand(env), devCommand(env), conformanceCommand(env))
	return root
}

// place is where the database is that a command acts on: a configuration or the
// folder of `dev`.
type place struct {
	config, data string
	log          io.Writer
}

func (p *place) flags(cmd *cobra.Command) {
	f := cmd.PersistentFlags()
	f.StringVar(&p.config, "config", "", "the configuration `FILE` of serve")
	f.StringVar(&p.data, "data", "", "the folder `DIR` of dev, in place of a configuration")
}

// load returns the configuration of the place.
func (p *place) load() (config.Config, error) {
	switch {
	case (p.config == "") == (p.data == ""):
		return config.Config{}, usage("Say which account service: --config FILE, or --data DIR of one in development.")
	case p.config != "":
		return config.Load(p.config)
	default:
		return demoConfig(p.data, demoListen)
	}
}

// open opens the service of the place. What it logs are warnings only.
func (p *place) open(ctx context.Context) (*service, error) {
	cfg, err := p.load()
	if err != nil {
		return nil, err
	}
	if p.data != "" && !isDemo(p.data) {
		return nil, usage("%s is not a folder of accountlock-server dev. --config is for another service.", p.data)
	}
	return openService(ctx, cfg, newLog(p.log, slog.LevelWarn), nil, false)
}

// finish tells owners of what a command has done, and closes the service. What
// cannot be sent now is sent by the server.
func (s *service) finish(ctx context.Context, warn io.Writer) error {
	if err := s.notices.Deliver(ctx); err != nil {
		if _, werr := fmt.Fprintf(warn, "A notice could not be sent yet: %s\n", err); werr != nil {
			return errors.Join(werr, s.close())
		}
	}
	if s.queue == nil {
		return s.close()
	}
	return errors.Join(s.queue.Deliver(ctx), s.close())
}

func newLog(w io.Writer, level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
}

func migrateCommand(at *place) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "migrate --config FILE",
		Short: "Bring the database's schema up to date",
		Args:  exactly(0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := at.load()
			if err != nil {
				return err
			}
			db, err := openDatabase(cmd.Context(), cfg.Database)
			if err != nil {
				return storage(err)
			}
			if err := errors.Join(db.Migrate(cmd.Context()), db.Close()); err != nil {
				return storage(err)
			}
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), map[string]bool{"up_to_date": true})
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), "The schema is up to date.")
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "write JSON")
	return cmd
}
