// SPDX-License-Identifier: Apache-2.0

// Package kiosk is the first-boot screen for touch: pages for one browser on the
// same device, served on the loopback interface alone. They are made on this
// side and work without JavaScript; a little of it counts waits down, shows a
// password on wish and notices changes.
//
// Whoever can run programs on a locked device may reach the socket: an address
// with a random token, which works once, gives the browser a cookie, and nothing
// is answered without it. Even then a visitor can do no more than anybody at the
// screen: what opens the device is the account's secret.
package kiosk

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"embed"
	"encoding/base64"
	"html/template"
	"io/fs"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/accountlock/accountlock/internal/busclient"
	"github.com/accountlock/accountlock/internal/firstboot/network"
	"github.com/accountlock/accountlock/internal/firstboot/page"
	"github.com/accountlock/accountlock/internal/firstboot/session"
	"github.com/accountlock/accountlock/internal/firstboot/ticket"
	"github.com/accountlock/accountlock/internal/i18n"
)

//go:embed pages/*.html static
var files embed.FS

var templates = template.Must(template.ParseFS(files, "pages/*.html"))

// Bounds of what one browser may send and keep open.
const (
	maxBody    = 16 << 10
	maxHeader  = 16 << 10
	maxVisits  = 16 // requests at once
	readTime   = 10 * time.Second
	answerTime = 60 * time.Second // a network takes 40 s to join
)

// Options are what one run works with.
type Options struct {
	Session  *session.Session
	Networks *network.Manager
	Lang     *i18n.Printer
	Region   string
	Now      func() time.Time
	// Browser is called with each new address; it returns when the browser ends
	// or ctx does. The next address comes after it.
	Browser func(ctx context.Context, address string) error
}

// Kiosk serves one browser.
type Kiosk struct {
	o      Options
	host   string
	visits chan struct{}
	opened chan struct{} // closed once a page has said that the device is open

	mu      sync.Mutex
	lang    *i18n.Printer
	token   string // works once; empty when used
	cookie  string
	refusal *page.Refusal // to be shown once
	note    string
	list    []network.Network // as it was shown last
	found   []ticket.Ticket   // likewise
	once    sync.Once
}

// Run serves until the device is open (nil) or ctx ends.
func Run(ctx context.Context, o Options) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	k := New(o, l.Addr().String())
	s := &http.Server{
		Handler: k, ReadHeaderTimeout: readTime, ReadTimeout: readTime, WriteTimeout: answerTime,
		IdleTimeout: answerTime, MaxHeaderBytes: maxHeader,
	}
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.Serve(l) })
	browsing, stop := context.WithCancel(ctx)
	wg.Go(func() { k.browse(browsing) })
	err = k.watch(ctx)
	if err == nil {
		// The browser gets a moment to say so; its page asks every second and a half.
		select {
		case <-k.opened:
		case <-time.After(10 * time.Second):
		case <-ctx.Done():
		}
	}
	stop()
	down, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = s.Shutdown(down)
	_ = s.Close()
	wg.Wait()
	return err
}

// New makes a kiosk for the address that it is reached at.
func New(o Options, host string) *Kiosk {
	return &Kiosk{o: o, lang: o.Lang, host: host, visits: make(chan struct{}, maxVisits), opened: make(chan struct{})}
}

// Address makes a new address for the browser. It works once, and ends the
// visit of whoever came before.
func (k *Kiosk) Address() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.token, k.cookie = random(), ""
	return "http://" + k.host + "/enter?token=" + k.token
}

func random() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails (Go 1.24)
	return base64.RawURLEncoding.EncodeToString(b)
}

// browse has a browser shown, again whenever it ends.
func (k *Kiosk) browse(ctx context.Context) {
	for ctx.Err() == nil {
		_ = k.o.Browser(ctx, k.Address())
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// watch waits until the daemon says that the device is open.
func (k *Kiosk) watch(ctx context.Context) error {
	for {
		v, err := k.o.Session.Look(ctx)
		if err == nil && v.Open {
			return nil
		}
		if err := k.o.Session.Changed(ctx, 2*time.Second); err != nil {
			return err
		}
	}
}

// ServeHTTP implements http.Handler. fails shut: what is not plainly the one
// browser's own request is refused.
func (k *Kiosk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case k.visits <- struct{}{}:
		defer func() { <-k.visits }()
	default:
		http.Error(w, "busy", http.StatusServiceUnavailable)
		return
	}
	guard(w.Header())
	// Another name for this address is another site's (DNS rebinding).
	if r.Host != k.host {
		http.Error(w, "not here", http.StatusForbidden)
		return
	}
	if r.Method == http.MethodPost && r.Header.Get("Origin") != "http://"+k.host {
		http.Error(w, "not from here", http.StatusForbidden)
		return
	}
	if r.URL.Path == "/enter" && r.Method == http.MethodGet {
		k.enter(w, r)
		return
	}
	if !k.knows(r) {
		http.Error(w, "not you", http.StatusForbidden)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	k.route(w, r)
}

// guard says that nothing of it is to be kept, framed or mixed with anything
// from elsewhere.
func guard(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=(), usb=(), serial=(), bluetooth=()")
}

const cookieName = "accountlock"

// enter takes the token of an address, once, for a cookie.
func (k *Kiosk) enter(w http.ResponseWriter, r *http.Request) {
	k.mu.Lock()
	ok := equal(r.URL.Query().Get("token"), k.token)
	if ok {
		k.token, k.cookie = "", random()
	}
	cookie := k.cookie
	k.mu.Unlock()
	if !ok {
		http.Error(w, "not you", http.StatusForbidden)
		return
	}
	//nolint:gosec // no TLS on the loopback interface: Secure would keep it from being sent
	http.SetCookie(w, &http.Cookie{Name: cookieName, Value: cookie, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode})
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// knows reports whether a request has the cookie.
func (k *Kiosk) knows(r *http.Request) bool {
	c, err := r.Cookie(cookieName)
	k.mu.Lock()
	defer k.mu.Unlock()
	return err == nil && equal(c.Value, k.cookie)
}

// equal compares in constant time; nothing equals an empty secret.
func equal(got, want string) bool {
	return want != "" && subtle.ConstantTimeCompare([]byte(got), []byte(want)) == 1
}

func (k *Kiosk) route(w http.ResponseWriter, r *http.Request) {
	static, _ := fs.Sub(files, "static")
	switch r.Method + " " + r.URL.Path {
	case "GET /screen.css":
		http.ServeFileFS(w, r, static, "screen.css")
	case "GET /screen.js":
		http.ServeFileFS(w, r, static, "screen.js")
	case "GET /":
		k.show(w, r)
	case "GET /state":
		k.state(w, r)
	case "GET /diagnosis":
		k.diagnosis(w, r)
	case "GET /support":
		k.support(w, r)
	case "GET /language":
		k.render(w, view{Title: "Language", Languages: i18n.Languages()})
	case "GET /tickets":
		k.tickets(w, r)
	case "POST /tickets":
		k.bring(w, r)
	case "GET /networks":
		k.networks(w, r)
	case "POST /networks":
		k.join(w, r)
	case "POST /language":
		k.speak(w, r)
	case "POST /take":
		k.act(w, r, k.o.Session.Take(r.Context(), r.PostFormValue("way")))
	case "POST /submit":
		k.submit(w, r)
	case "POST /resend":
		err := k.o.Session.Resend(r.Context())
		if err == nil {
			k.say(k.tongue().T("It was sent again."))
		}
		k.act(w, r, err)
	case "POST /home":
		k.act(w, r, k.o.Session.GoHome(r.Context()))
	default:
		http.Error(w, "no such page", http.StatusNotFound)
	}
}

func (k *Kiosk) tongue() *i18n.Printer {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.lang
}

// act leads back to the page, which shows what the flow says; a refusal that no
// flow keeps is kept for it here.
func (k *Kiosk) act(w http.ResponseWriter, r *http.Request, err error) {
	if err != nil {
		p := k.tongue()
		k.mu.Lock()
		k.refusal = page.RefusalOf(p, busclient.AsFailure(err))
		k.mu.Unlock()
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (k *Kiosk) say(note string) {
	k.mu.Lock()
	k.note = note
	k.mu.Unlock()
}
