// SPDX-License-Identifier: Apache-2.0

// Package portal owns the web pages of the account service: what an owner does
// in a browser. Pages are made on the server and work without JavaScript; a
// script only adds comfort. Who is signed in is a row in the database, so that
// any server answers any request.
//
// It must not decide about accounts, links or codes: it asks the packages that
// own them and shows what they say.
package portal

import (
	"context"
	"database/sql"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/service/account"
	"github.com/accountlock/accountlock/internal/service/approval"
	"github.com/accountlock/accountlock/internal/service/audit"
	"github.com/accountlock/accountlock/internal/service/device"
	"github.com/accountlock/accountlock/internal/service/federation"
	"github.com/accountlock/accountlock/internal/service/offline"
	"github.com/accountlock/accountlock/internal/service/staff"
	"github.com/accountlock/accountlock/internal/service/support"
)

// DB runs transactions, as *store.DB does: fn may run more than once.
type DB interface {
	Tx(ctx context.Context, fn func(*sql.Tx) error) error
	Read(ctx context.Context, fn func(*sql.Tx) error) error
}

// Accounts is what the portal asks about accounts, as *account.Service answers
// it; the errors of each method are told there.
type Accounts interface {
	Authenticate(ctx context.Context, a account.Attempt) (account.Account, error)
	Get(ctx context.Context, id string) (account.Account, error)
	SendCode(ctx context.Context, a account.Account, flowID, purpose, locale string) (sentTo string, expires time.Time, err error)
	CheckCode(ctx context.Context, accountID, flowID, purpose string, code accountapi.Secret) error
	MayHave(ctx context.Context, id string, password accountapi.Secret) error
	SetPassword(ctx context.Context, id string, password accountapi.Secret) error
	SetSecondFactor(ctx context.Context, id string, on bool) (account.Account, error)
	OfferIdentifier(ctx context.Context, id, typed, flowID, locale string) (account.Identifier, time.Time, error)
	AddIdentifier(ctx context.Context, id, typed, flowID string, code accountapi.Secret) (account.Account, error)
	RemoveIdentifier(ctx context.Context, id, value string) (account.Account, error)
	Delete(ctx context.Context, id string) error
	SignInFederated(ctx context.Context, f account.Federated) (account.Account, error)
	OneTimePassword(ctx context.Context, id string) (accountapi.Secret, time.Time, error)
	BeginRegistration(ctx context.Context, id, typed, region, locale string, from netip.Addr) error
	ResendRegistration(ctx context.Context, id, locale string, from netip.Addr) error
	Registration(ctx context.Context, id string) (account.Registration, error)
	CheckRegistration(ctx context.Context, id string, code accountapi.Secret) error
	FinishRegistration(ctx context.Context, id string, password accountapi.Secret, locale string) (account.Account, error)
}

var _ Accounts = (*account.Service)(nil)

// Captcha makes challenges and verifies answers, as *captcha.Captcha does.
type Captcha interface {
	Challenge(use string) (string, error)
	// Verify's error for a wrong answer is fault.CaptchaRequired.
	Verify(ctx context.Context, use, answer string) error
}

// Config is what a Portal is made of. All but Federation, Contacts and Now must be
// given.
type Config struct {
	DB       DB
	Accounts Accounts
	Devices  *device.Registry
	// Offline answers the challenges of locked devices.
	Offline *offline.Service
	// Approvals are the requests of locked devices to be opened.
	Approvals *approval.Service
	// Federation signs people in, where an identity provider does that in place of
	// our passwords.
	Federation *federation.Service
	// Captcha makes and verifies checks before guesses block anybody.
	Captcha Captcha
	// Factors are what owners have set up to prove themselves by.
	Factors Factors
	// Recoveries is the way back for who has forgotten password or account ID.
	Recoveries Recoveries
	// Registration lets anybody make an account; never beside Federation.
	Registration bool
	// Cases are support's, Staff who works there, and Trail what they have done, of
	// which VerifyTrail says whether anybody changed it.
	Cases       *support.Service
	Staff       *staff.Service
	Trail       Trail
	VerifyTrail func(ctx context.Context) (audit.Report, error)
	// Address tells where a request comes from.
	Address func(*http.Request) netip.Addr
	// Contacts are how support is reached from a region, in a language.
	Contacts func(region, locale string) []accountapi.SupportContact
	// Sent is told that an owner may have to be notified.
	Sent func()
	// PublicURL is what people reach the portal by.
	PublicURL string
	Log       *slog.Logger
	// Now is the time of day; time.Now by default.
	Now func() time.Time
}

// Portal serves the pages. It is safe for concurrent use.
type Portal struct {
	Config

	sessions sessions
	views    *views
	// gets knows the pages that can be asked for, by their patterns alone.
	gets   *http.ServeMux
	words  words
	origin *http.CrossOriginProtection
}

// New returns the pages over what cfg names. Its error is of pages that do not
// fit together: the program's own fault.
func New(cfg Config) (*Portal, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	v, err := newViews()
	if err != nil {
		return nil, err
	}
	texts, err := readWords()
	if err != nil {
		return nil, err
	}
	if cfg.Federation != nil {
		cfg.Registration = false
	}
	p := &Portal{Config: cfg, gets: http.NewServeMux(), views: v, words: texts, origin: http.NewCrossOriginProtection()}
	p.sessions = sessions{db: cfg.DB, now: cfg.Now}
	if u, err := url.Parse(cfg.PublicURL); err == nil {
		// A proxy in front may give requests another Host.
		if err := p.origin.AddTrustedOrigin(u.Scheme + "://" + u.Host); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// Register adds the pages to mux, each under a pattern of its own.
func (p *Portal) Register(mux *http.ServeMux) {
	public, private := p.public(), p.private()
	if p.Federation != nil {
		p.federate(public, private)
	}
	if p.Registration {
		maps.Copy(public, p.registration())
	}
	for _, pattern := range slices.Concat(slices.Collect(maps.Keys(public)), slices.Collect(maps.Keys(private)), slices.Collect(maps.Keys(p.staffPages()))) {
		if strings.HasPrefix(pattern, "GET ") {
			p.gets.Handle(pattern, http.NotFoundHandler())
		}
	}
	for pattern, h := range public {
		mux.Handle(pattern, p.guarded(h))
	}
	for pattern, h := range private {
		mux.Handle(pattern, p.guarded(p.signedIn(h)))
	}
	for pattern, h := range p.staffPages() {
		mux.Handle(pattern, p.guarded(p.staffed(h)))
	}
	mux.Handle("GET /static/{file...}", p.guarded(p.static))
}

// public are the pages for everybody.
func (p *Portal) public() map[string]page {
	return map[string]page{
		"GET /{$}":                   p.home,
		"GET /sign-in":               p.signInForm,
		"POST /sign-in":              p.signIn,
		"GET /sign-in/code":          p.signInCodeForm,
		"POST /sign-in/code":         p.signInCode,
		"POST /sign-in/passkey/ask":  p.signInPasskeyAsk,
		"POST /sign-in/passkey":      p.signInPasskey,
		"POST /sign-in/code/passkey": p.signInCodePasskey,
		"POST /sign-in/again":        p.signInAgain,
		"GET /recover":               p.recoverForm,
		"POST /recover":              p.recoverBegin,
		"GET /recover/next":          p.recoverNext,
		"POST /recover/code":         p.recoverCode,
		"POST /recover/again":        p.recoverAgain,
		"POST /recover/password":     p.recoverPassword,
		"GET /recover/stop":          p.recoverStopForm,
		"POST /recover/stop":         p.recoverStop,
		"GET " + support.StopPath:    p.stopForm,
		"POST " + support.StopPath:   p.stopCase,
		"GET /staff":                 p.staffForm,
		"POST /staff/sign-in":        p.staffSignIn,
		"GET /check":                 p.check,
		"GET /help":                  p.help,
		"POST /language":             p.chooseLanguage,
	}
}

// registration are the pages of who has no account yet.
func (p *Portal) registration() map[string]page {
	return map[string]page{
		"GET /register":           p.registerForm,
		"POST /register":          p.registerBegin,
		"GET /register/next":      p.registerNext,
		"POST /register/code":     p.registerCode,
		"POST /register/again":    p.registerAgain,
		"POST /register/password": p.registerPassword,
	}
}

// private are the pages of who is signed in.
func (p *Portal) private() map[string]ownPage {
	return map[string]ownPage{
		"POST /sign-out":                    p.signOut,
		"GET /account":                      p.accountPage,
		"POST /account/password":            p.changePassword,
		"POST /account/second-factor":       p.changeSecondFactor,
		"POST /account/identifiers":         p.offerIdentifier,
		"POST /account/identifiers/code":    p.addIdentifier,
		"POST /account/identifiers/drop":    p.dropIdentifier,
		"GET /account/factors":              p.factorsPage,
		"POST /account/factors/app":         p.appBegin,
		"POST /account/factors/app/add":     p.appAdd,
		"POST /account/factors/passkey":     p.passkeyBegin,
		"POST /account/factors/passkey/add": p.passkeyAdd,
		"POST /account/factors/remove":      p.factorRemove,
		"POST /account/factors/backup":      p.backupCodes,
		"POST /account/passkey/ask":         p.provePasskeyAsk,
		"POST /account/sessions/end":        p.endSessions,
		"GET /account/delete":               p.deleteForm,
		"POST /account/delete":              p.deleteBegin,
		"POST /account/delete/code":         p.deleteFinish,
		"GET " + approval.Path:              p.approvePage,
		"POST " + approval.Path:             p.approveDecide,
		"GET /support":                      p.ownCases,
		"POST /support/stop-mine":           p.stopOwn,
		"GET /devices":                      p.devicesPage,
		"GET /devices/{device}":             p.devicePage,
		"POST /devices/{device}/sign-out":   p.deviceSignOut,
		"POST /devices/{device}/unlink":     p.deviceUnlink,
		"POST /devices/{device}/lost":       p.deviceLost,
		"POST /devices/{device}/found":      p.deviceFound,
		"POST /devices/{device}/answer":     p.deviceAnswer,
	}
}

// page answers a request of anybody, ownPage one of who is signed in.
type (
	page    func(w http.ResponseWriter, r *http.Request)
	ownPage func(w http.ResponseWriter, r *http.Request, s session)
)

// maxForm bounds, in bytes, what a form may hold.
const maxForm = 64 << 10

// policy is the Content-Security-Policy of every page: nothing but our own files,
// no script within a page, no frame around it.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"worker-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// guarded gives an answer its headers and refuses forms that another site sent
// (RFC 9110 Origin and Sec-Fetch-Site; the cookie is SameSite besides).
func (p *Portal) guarded(h page) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		head := w.Header()
		head.Set("Content-Security-Policy", policy)
		head.Set("Cross-Origin-Opener-Policy", "same-origin")
		head.Set("Cross-Origin-Resource-Policy", "same-origin")
		head.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=(), payment=()")
		head.Set("Referrer-Policy", "same-origin")
		head.Set("Strict-Transport-Security", "max-age=63072000")
		head.Set("X-Frame-Options", "DENY")
		if err := p.origin.Check(r); err != nil {
			p.refuse(w, r, http.StatusForbidden, sayings.foreign)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		if r.Method == http.MethodPost {
			if err := r.ParseForm(); err != nil {
				p.refuse(w, r, http.StatusBadRequest, sayings.form)
				return
			}
		}
		if !isText(r) {
			p.refuse(w, r, http.StatusBadRequest, sayings.form)
			return
		}
		h(w, r)
	})
}

// isText reports whether what a request says can be stored: PostgreSQL refuses NUL
// and what is not UTF-8. Who signs in so is answered as who names no account, and
// counted.
func isText(r *http.Request) bool {
	stored := func(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }
	for name, values := range r.URL.Query() {
		if !stored(name) || !fits(values, stored) {
			return false
		}
	}
	for name, values := range r.PostForm {
		if !stored(name) || (name != "identifier" || r.URL.Path != "/sign-in") && !fits(values, stored) {
			return false
		}
	}
	return stored(r.URL.Path)
}

func fits(values []string, f func(string) bool) bool {
	return !slices.ContainsFunc(values, func(s string) bool { return !f(s) })
}

// NotFound answers where there is no page.
func (p *Portal) NotFound(w http.ResponseWriter, r *http.Request) {
	p.guarded(func(w http.ResponseWriter, r *http.Request) {
		p.refuse(w, r, http.StatusNotFound, sayings.missing)
	}).ServeHTTP(w, r)
}

// Sweep removes the sessions that have ended.
func (p *Portal) Sweep(ctx context.Context) error { return p.sessions.sweep(ctx) }
