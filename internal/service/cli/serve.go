// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/spf13/cobra"

	"github.com/accountlock/accountlock/internal/fault"
	"github.com/accountlock/accountlock/internal/service/config"
)

func serveCommand(env Env) *cobra.Command {
	var (
		path      string
		checkOnly bool
		asJSON    bool
	)
	cmd := &cobra.Command{
		Use:   "serve --config FILE",
		Short: "Serve the account API",
		Args:  exactly(0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if path == "" {
				return usage("--config must be given; for a service to try things with there is `dev`.")
			}
			cfg, err := config.Load(path)
			if err != nil {
				return err
			}
			if checkOnly {
				if _, err := breachedOf(cfg); err != nil {
					return storage(err)
				}
				if cfg.Mail.SMTP.Host != "" {
					if _, err := carriersOf(cfg); err != nil {
						return storage(err)
					}
				}
				return checked(cmd.OutOrStdout(), asJSON)
			}
			return serve(cmd.Context(), cfg, env)
		},
	}
	f := cmd.Flags()
	f.StringVar(&path, "config", "", "the configuration, a TOML file")
	f.BoolVar(&checkOnly, "check-config", false, "say whether the configuration can be used, and end")
	f.BoolVar(&asJSON, "json", false, "write JSON")
	return cmd
}

func checked(w io.Writer, asJSON bool) error {
	if asJSON {
		return writeJSON(w, map[string]bool{"ok": true})
	}
	_, err := fmt.Fprintln(w, "The configuration is right.")
	return err
}

func serve(ctx context.Context, cfg config.Config, env Env) error {
	level, err := cfg.Level()
	if err != nil {
		return err
	}
	cert, err := tls.LoadX509KeyPair(cfg.TLS.Certificate, cfg.TLS.Key)
	if err != nil {
		return storage(fmt.Errorf("cannot use the certificate: %w", err))
	}
	s, err := openService(ctx, cfg, newLog(env.Stderr, level), nil, false)
	if err != nil {
		return err
	}
	l, err := listen(ctx, cfg.Listen)
	if err != nil {
		return errors.Join(err, s.close())
	}
	var figures net.Listener
	if cfg.Metrics.Listen != "" {
		if figures, err = listen(ctx, cfg.Metrics.Listen); err != nil {
			return errors.Join(err, l.Close(), s.close())
		}
	}
	if _, err := fmt.Fprintf(env.Stdout, "ready\n%s/\n", cfg.PublicURL); err != nil {
		return errors.Join(err, closed(figures), l.Close(), s.close())
	}
	return s.serveOn(ctx, l, figures, cert)
}

// closed closes a listener if there is one.
func closed(l net.Listener) error {
	if l == nil {
		return nil
	}
	return l.Close()
}

func listen(ctx context.Context, address string) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		f := fault.Newf(fault.ServiceUnavailable, "The account service cannot listen on %s.", address)
		f.Remedy, f.Err = "Choose another address, or end what listens there.", err
		return nil, f
	}
	return l, nil
}

// serveOn answers on the listener until ctx ends, and closes the service. On figures, if
// it is not nil, monitoring is answered.
func (s *service) serveOn(ctx context.Context, l, figures net.Listener, cert tls.Certificate) error {
	srv, err := s.server()
	if err != nil {
		return errors.Join(err, closed(figures), l.Close(), s.close())
	}
	telling, stop := context.WithCancel(context.WithoutCancel(ctx))
	var owners sync.WaitGroup
	owners.Go(func() {
		s.notices.Run(telling, func(err error) { s.log.WarnContext(telling, "cannot tell owners", "error", err) })
	})
	owners.Go(func() { s.recoveries.Run(telling) })
	if figures != nil {
		owners.Go(func() {
			s.log.InfoContext(telling, "serving figures", "at", figures.Addr().String())
			if err := srv.ServeMetrics(telling, figures); err != nil {
				s.log.ErrorContext(telling, "monitoring is answered no more", "error", err)
			}
		})
	}
	if s.queue != nil {
		owners.Go(func() { s.queue.Run(telling) })
	}
	s.log.InfoContext(ctx, "serving", "address", l.Addr().String())
	err = srv.Serve(ctx, l, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13})
	srv.Close()
	stop()
	owners.Wait()
	s.log.InfoContext(context.WithoutCancel(ctx), "ended")
	return errors.Join(err, s.close())
}
