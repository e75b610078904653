// SPDX-License-Identifier: Apache-2.0

// Package conformance asks an account service, ours or a vendor's, what
// docs/account-api.yaml says that it answers, and tells check by check where it
// does not. It knows the service by its address alone, and devices and accounts
// by what it makes itself or is given.
//
// It must not import anything of the reference service: what both got wrong
// would look right.
package conformance

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/fault"
)

// Account is one that checks may sign in to. It must not have a second factor.
type Account struct {
	Identifier string
	Password   accountapi.Secret
}

// Config says what is checked, and by what. All but URL and Now may be left out.
type Config struct {
	// URL is the service's, https.
	URL string
	// Roots are the authorities that the service's certificate is trusted by; the
	// system's where it is nil.
	Roots *x509.CertPool
	// KeySet is what a device's image holds of the service's keys. Without it the
	// first set is taken on trust, and the check of it says so.
	KeySet *KeySet
	// Owner and Other are two accounts of the service. Checks that need one that is
	// not given are skipped.
	Owner, Other *Account
	// Only are the names of the checks to make; all where it is empty.
	Only []string
	// Down says that the service's database is stopped: other checks are made then.
	Down bool
	Now  func() time.Time
}

// KeySet is what a device's image holds: the root key and the keys of one set.
type KeySet struct {
	Root   accountapi.JWK   `json:"root"`
	Number int64            `json:"number"`
	Keys   []accountapi.JWK `json:"keys"`
}

// Outcome is how a check ended.
type Outcome string

// The outcomes. Skipped checks were not made, and say why.
const (
	Passed  Outcome = "passed"
	Failed  Outcome = "failed"
	Skipped Outcome = "skipped"
)

// Result is one check, with what came of it.
type Result struct {
	// Name is the check's, for scripts.
	Name string `json:"name"`
	// Section is the part of docs/account-api.yaml that Rule stands in.
	Section string `json:"section"`
	// Rule is what a service does that passes.
	Rule    string  `json:"rule"`
	Outcome Outcome `json:"outcome"`
	// Found is what is wrong, or why the check was skipped.
	Found string `json:"found,omitempty"`
}

// Report is what came of all checks.
type Report struct {
	URL     string   `json:"url"`
	Passed  int      `json:"passed"`
	Failed  int      `json:"failed"`
	Skipped int      `json:"skipped"`
	Checks  []Result `json:"checks"`
}

// CallTime bounds one call.
const CallTime = 30 * time.Second

// need is what a check cannot do without.
type need int

const (
	nothing need = iota
	anAccount
	twoAccounts
)

// check is one rule of the document, and how it is tried.
type check struct {
	name, section, rule string
	needs               need
	try                 func(*probe)
}

// Run makes every check, one after the other, and returns what came of them. It
// leaves the accounts as they were. Its errors are of a service that cannot be
// asked at all: fault.InvalidArgument, NetworkUnavailable and ServiceUntrusted.
func Run(ctx context.Context, cfg Config) (Report, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.Path != "" && u.Path != "/" {
		return Report{}, fault.Newf(fault.InvalidArgument, "%q is no address of an account service, such as https://accounts.example.org.", cfg.URL)
	}
	chosen, err := choose(cfg)
	if err != nil {
		return Report{}, err
	}
	s := &suite{cfg: cfg, host: u.Host, base: "https://" + u.Host, jtis: map[string]bool{}, nonces: map[string]bool{}}
	s.http = s.client(&tls.Config{RootCAs: cfg.Roots, MinVersion: tls.VersionTLS13})
	defer s.http.CloseIdleConnections()
	if err := s.reach(ctx); err != nil {
		return Report{}, err
	}
	report := Report{URL: s.base, Checks: []Result{}}
	for _, c := range chosen {
		if ctx.Err() != nil {
			return report, context.Cause(ctx)
		}
		r := s.make(ctx, c)
		switch r.Outcome {
		case Passed:
			report.Passed++
		case Failed:
			report.Failed++
		default:
			report.Skipped++
		}
		report.Checks = append(report.Checks, r)
	}
	return report, nil
}

// choose returns the checks that are asked for, in their order.
func choose(cfg Config) ([]check, error) {
	all, names := checks(), cfg.Only
	if cfg.Down {
		all = downChecks()
	}
	for _, n := range names {
		if !slices.ContainsFunc(all, func(c check) bool { return c.name == n }) {
			return nil, fault.Newf(fault.InvalidArgument, "There is no check %q.", n)
		}
	}
	if len(names) == 0 {
		return all, nil
	}
	return slices.DeleteFunc(all, func(c check) bool { return !slices.Contains(names, c.name) }), nil
}

// suite is one run of all checks.
type suite struct {
	cfg        Config
	host, base string
	http       *http.Client
	// offset is what the service's clock is ahead of ours.
	offset time.Duration
	trust  *trust
	// What was seen in every answer, whatever it was an answer to.
	jtis, nonces map[string]bool
	limited      int
	broken       []violation
}

// violation is an answer against a rule that holds for every answer.
type violation struct{ check, found string }

func (s *suite) client(cfg *tls.Config) *http.Client {
	return &http.Client{
		Timeout:       CallTime,
		Transport:     &http.Transport{TLSClientConfig: cfg, ForceAttemptHTTP2: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// reach finds out whether there is anything to check, and the service's time.
func (s *suite) reach(ctx context.Context) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base+"/livez", http.NoBody)
	if err != nil {
		return fault.New(fault.InvalidArgument, err)
	}
	resp, err := s.http.Do(r)
	if err == nil {
		return resp.Body.Close()
	}
	var (
		authority x509.UnknownAuthorityError
		name      x509.HostnameError
		invalid   x509.CertificateInvalidError
	)
	if errors.As(err, &authority) || errors.As(err, &name) || errors.As(err, &invalid) {
		f := fault.New(fault.ServiceUntrusted, err)
		f.Remedy = "Give the authority of the service's certificate with --ca, and the name that the certificate is for in --url."
		return f
	}
	var alert tls.AlertError
	if errors.As(err, &alert) {
		f := fault.Newf(fault.ServiceUntrusted, "The service does not speak TLS 1.3 (account-api.yaml, Transport).")
		f.Err = err
		return f
	}
	f := fault.Newf(fault.NetworkUnavailable, "The service at %s cannot be reached.", s.base)
	f.Remedy, f.Err = "See that it runs, and that nothing is in between.", err
	return f
}

// make makes one check.
func (s *suite) make(ctx context.Context, c check) Result {
	p := &probe{suite: s, ctx: ctx, check: c.name}
	r := Result{Name: c.name, Section: c.section, Rule: c.rule, Outcome: Passed}
	switch {
	case c.needs >= anAccount && s.cfg.Owner == nil:
		r.Outcome, r.Found = Skipped, "it needs a test account: give --identifier and --password-file, or --accounts"
		return r
	case c.needs == twoAccounts && s.cfg.Other == nil:
		r.Outcome, r.Found = Skipped, "it needs a second test account: give --accounts with `other`"
		return r
	}
	end := p.run(c.try)
	p.leave()
	if end == nil {
		end = p.own()
	}
	if end != nil {
		r.Outcome, r.Found = end.outcome, end.found
	}
	return r
}

// own is what the check's own rule, where it is one for every answer, found
// anywhere.
func (p *probe) own() *end {
	i := slices.IndexFunc(p.broken, func(v violation) bool { return v.check == p.check })
	if i < 0 {
		return nil
	}
	return &end{Failed, p.broken[i].found}
}

// end is how a check ends before its last line.
type end struct {
	outcome Outcome
	found   string
}

// probe is one check at work. Its methods end the check where an answer is not as
// it must be, by a panic that run takes back: a check reads as the list of what
// it wants.
type probe struct {
	*suite
	ctx   context.Context //nolint:containedctx // a probe lives as long as its check
	check string
	// linked are the devices to unlink at the end.
	linked []*device
}

func (p *probe) run(try func(*probe)) (ended *end) {
	defer func() {
		switch v := recover().(type) {
		case nil:
		case *end:
			ended = v
		default:
			panic(v)
		}
	}()
	try(p)
	return nil
}

// failf ends the check: what is wrong is said.
func (p *probe) failf(format string, args ...any) {
	panic(&end{Failed, fmt.Sprintf(format, args...)})
}

// skipf ends the check: it says nothing about the service.
func (p *probe) skipf(format string, args ...any) {
	panic(&end{Skipped, fmt.Sprintf(format, args...)})
}

// must ends the check with an error that is the service's.
func (p *probe) must(err error, doing string) {
	if err != nil {
		p.failf("%s: %s", doing, err)
	}
}

// leave takes the check's devices off the account again. What does not work is not the
// check's matter: unlinking has one of its own.
func (p *probe) leave() {
	for _, d := range p.linked {
		p.run(func(p *probe) { p.unlink(d, p.cfg.Owner) })
	}
}
