// SPDX-License-Identifier: Apache-2.0

package firstboot

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/accountlock/accountlock/internal/busclient"
	"github.com/accountlock/accountlock/internal/console"
	"github.com/accountlock/accountlock/internal/firstboot/line"
	"github.com/accountlock/accountlock/internal/firstboot/network"
	"github.com/accountlock/accountlock/internal/firstboot/screen"
	"github.com/accountlock/accountlock/internal/firstboot/session"
	"github.com/accountlock/accountlock/internal/i18n"
)

// The exit codes. Whatever else ends the program is a signal's own.
const (
	ExitOpen   = 0 // the device is open
	ExitFailed = 1 // the terminal or the browser is gone: start it again
	ExitUsage  = 2
)

// Env is what the program reaches outside of D-Bus.
type Env struct {
	Stdin          *os.File
	Stdout, Stderr *os.File
	Getenv         func(string) string
	Now            func() time.Time
	Version        string
	// Kiosk shows the pages for a browser until the device is open. It is handed in,
	// since most devices have no use for its web server.
	Kiosk func(context.Context, KioskOptions) error
}

// KioskOptions are what the pages for a browser work with.
type KioskOptions struct {
	Session  *session.Session
	Networks *network.Manager
	Lang     *i18n.Printer
	Region   string
	Now      func() time.Time
	Browser  []string // its command, or
	URLFile  string   // where the address is left
}

// options are the command line.
type options struct {
	plain, reader bool
	kiosk         bool
	urlFile       string
	browser       []string
	language      string
	region        string
	version       bool
}

const usage = `Usage: accountlock-firstboot [OPTION...]
       accountlock-firstboot --kiosk [OPTION...] (--url-file FILE | COMMAND [ARGUMENT...])

Shows a locked device's owner the ways to open it, and ends with 0 once the device
is open: on the terminal that it was started on, or with --kiosk on pages for a
browser, whose COMMAND gets their address in place of {url} or behind its words.

  --plain            lines of text instead of a full screen; chosen by itself where
                     the terminal cannot do more
  --screen-reader    as --plain, and without pictures
  --kiosk            pages for touch, on the loopback interface
  --url-file FILE    leave the pages' address there for a browser that somebody else
                     starts; each works once
  --language TAG     the language to begin with; otherwise LC_ALL, LC_MESSAGES, LANG
  --region CODE      the region whose support contacts are shown (ISO 3166-1)
  --version          print the version
`

var regionForm = regexp.MustCompile(`^[A-Z]{2}$`)

func parse(args []string) (options, error) {
	var o options
	fs := flag.NewFlagSet("accountlock-firstboot", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.BoolVar(&o.plain, "plain", false, "")
	fs.BoolVar(&o.reader, "screen-reader", false, "")
	fs.BoolVar(&o.kiosk, "kiosk", false, "")
	fs.StringVar(&o.urlFile, "url-file", "", "")
	fs.StringVar(&o.language, "language", "", "")
	fs.StringVar(&o.region, "region", "", "")
	fs.BoolVar(&o.version, "version", false, "")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	o.browser = fs.Args()
	switch {
	case !o.kiosk && (fs.NArg() > 0 || o.urlFile != ""):
		return o, errors.New("a browser's command and --url-file go with --kiosk")
	case o.kiosk && (o.plain || o.reader):
		return o, errors.New("--kiosk has no lines of text")
	case o.kiosk && (fs.NArg() > 0) == (o.urlFile != ""):
		return o, errors.New("--kiosk wants a browser's command or --url-file")
	case o.region != "" && !regionForm.MatchString(o.region):
		return o, errors.New("--region wants two capital letters, as ISO 3166-1 writes them")
	}
	return o, nil
}

// Run runs the program and returns its exit code. It returns ExitFailed when ctx
// ends first.
func Run(ctx context.Context, args []string, env Env) int {
	o, err := parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(env.Stdout, usage)
		return ExitOpen
	case err != nil:
		fmt.Fprintf(env.Stderr, "accountlock-firstboot: %v\n%s", err, usage)
		return ExitUsage
	case o.version:
		fmt.Fprintln(env.Stdout, "accountlock-firstboot", env.Version)
		return ExitOpen
	}
	if err := show(ctx, o, env); err != nil {
		if ctx.Err() == nil {
			fmt.Fprintf(env.Stderr, "accountlock-firstboot: %v\n", err)
		}
		return ExitFailed
	}
	return ExitOpen
}

// show draws, in the way that was asked for, until the device is open.
func show(ctx context.Context, o options, env Env) error {
	lang := i18n.For(o.language, env.Getenv("LC_ALL"), env.Getenv("LC_MESSAGES"), env.Getenv("LANG"))
	address := env.Getenv("DBUS_SYSTEM_BUS_ADDRESS")
	if address == "" {
		address = busclient.SystemBus
	}
	s := session.New(address, lang.Tag(), env.Now)
	defer s.Close()
	nets := network.New(address)
	defer nets.Close()
	if o.kiosk {
		return env.Kiosk(ctx, KioskOptions{
			Session: s, Networks: nets, Lang: lang, Region: o.region, Now: env.Now, Browser: o.browser, URLFile: o.urlFile,
		})
	}
	term := console.Open(env.Stdin, env.Stdout)
	if term == nil {
		return errors.New("standard input and output must be a terminal; a unit says StandardInput=tty and TTYPath=")
	}
	if o.plain || o.reader || !fullScreen(term, env.Getenv("TERM")) {
		return lines(ctx, o, env, &line.Mode{Session: s, Networks: nets, Term: term, Lang: lang})
	}
	return screen.Run(ctx, screen.Options{
		Session: s, Networks: nets, Lang: lang, Languages: languages(env.Getenv("TERM")),
		Region: o.region, Now: env.Now, CapsLock: term.CapsLock, Blocks: unicode(env),
	}, env.Stdin, env.Stdout, terminalEnviron(env))
}

// lines runs the line mode.
func lines(ctx context.Context, o options, env Env, m *line.Mode) error {
	restore, err := console.Hold(env.Stdin)
	if err != nil {
		return err
	}
	defer restore()
	m.Out, m.Now, m.Region = env.Stdout, env.Now, o.region
	m.Languages, m.QR = languages(env.Getenv("TERM")), !o.reader && unicode(env)
	return m.Run(ctx)
}

// fullScreen reports whether a terminal can be drawn on: it says how, and is
// large enough. A serial line has no size of its own, and gets lines.
func fullScreen(t *console.Terminal, term string) bool {
	w, h := t.Size()
	return term != "" && term != "dumb" && term != "unknown" && w >= 80 && h >= 24
}

// terminalEnviron is what the terminal is known by.
func terminalEnviron(env Env) []string {
	var out []string
	for _, name := range []string{"TERM", "COLORTERM", "NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "LANG", "LC_ALL", "LC_CTYPE"} {
		if v := env.Getenv(name); v != "" {
			out = append(out, name+"="+v)
		}
	}
	return out
}

// languages are those that a terminal can write: the kernel's console has no
// more than 512 signs.
func languages(term string) []i18n.Language {
	var out []i18n.Language
	for _, l := range i18n.Languages() {
		if term == "linux" && (l.Tag == "hi" || l.Tag == "zh-Hans") {
			continue
		}
		out = append(out, l)
	}
	return out
}

// unicode reports whether the terminal can be believed to draw blocks.
func unicode(env Env) bool {
	if env.Getenv("TERM") == "linux" {
		return true
	}
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := env.Getenv(name); v != "" {
			v = strings.ToLower(v)
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return false
}
