// SPDX-License-Identifier: Apache-2.0

package story_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	accountlock "github.com/accountlock/accountlock/internal/bus"
	"github.com/accountlock/accountlock/test/browser"
)

func (r *rig) portal() string { return "https://127.0.0.1:" + r.port }

// decide answers a request in the portal by its forms alone, as the owner: "approve"
// or "refuse".
func (r *rig) decide(code, answer string) {
	r.T.Helper()
	pem, err := os.ReadFile(r.Path("service/ca.pem"))
	if err != nil {
		r.T.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	jar, err := cookiejar.New(nil)
	if err != nil {
		r.T.Fatal(err)
	}
	c := &http.Client{Jar: jar, Timeout: 30 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13}, DisableKeepAlives: true,
	}}
	post := func(path string, fields url.Values, says string) {
		r.T.Helper()
		q, err := http.NewRequestWithContext(r.T.Context(), http.MethodPost, r.portal()+path, strings.NewReader(fields.Encode()))
		if err != nil {
			r.T.Fatal(err)
		}
		q.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		q.Header.Set("Origin", r.portal())
		resp, err := c.Do(q)
		if err != nil {
			r.T.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil || !bytes.Contains(body, []byte(says)) {
			r.T.Fatalf("%s (%d, %v) does not say %q:\n%s", path, resp.StatusCode, err, says, body)
		}
	}
	post("/sign-in", url.Values{"identifier": {r.demo.Email}, "password": {r.demo.Password}, "to": {"/devices"}}, "These devices belong to your account")
	says := map[string]string{"approve": "You approved it.", "refuse": "You refused it."}
	post("/approve", url.Values{"code": {code}, "decision": {answer}, "hands": {"1"}}, says[answer])
}

// ask has a flow show a code, and returns its prompt.
func (c *conversation) ask() map[string]dbus.Variant {
	c.T.Helper()
	if err := c.Obj.Call(accountlock.FlowFace+".Choose", 0, "approve").Err; err != nil {
		c.T.Fatal(err)
	}
	if step := c.step(); step != "approve" {
		c.T.Fatalf("the flow is at %s", step)
	}
	return c.Prompt()
}

// await waits until a flow is at a step.
func (c *conversation) await(step string) {
	c.T.Helper()
	for end := time.Now().Add(2 * time.Minute); c.step() != step; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			c.T.Fatalf("the flow stays at %s, %v, and does not come to %s", c.step(), c.Property("Error"), step)
		}
	}
}

// wantEnd waits for the end of a flow that failed.
func (c *conversation) wantEnd(code string) {
	c.T.Helper()
	c.await("failed")
	e := c.Property("Error").Value().([]any)
	if e[0] != accountlock.ErrorPrefix+code || e[1] == "" || e[2] == "" || e[3] != false {
		c.T.Fatalf("the flow's Error is %v, want %s", e, code)
	}
	// For another reason perhaps: a check-in may have come in between.
	if state := c.r.Property("State").Value(); state != "locked" {
		c.T.Fatalf("the device is %v", state)
	}
}

func TestTheOwnerApprovesFromAPhone(t *testing.T) {
	t.Parallel()
	r := locked(t)
	c := r.begin("Unlock")
	methods := c.Property("Methods").Value().([]string)
	if !strings.Contains(strings.Join(methods, " "), "password approve offline-code") {
		t.Fatalf("the ways open are %q", methods)
	}
	p := c.ask()
	code, uri, full := p["user-code"].Value().(string), p["uri"].Value().(string), p["uri-complete"].Value().(string)
	if uri != r.portal()+"/approve" || full != uri+"?code="+code || p["expires"].Value().(uint64) < uint64(time.Now().Unix()) {
		t.Fatalf("the prompt is %v", p)
	}
	r.wantError(c.Submit(map[string]any{"password": []byte("x")}), "WrongStep")
	browser.Visit(t, browser.Plan{
		Width: 390, Height: 844, Touch: true, Host: hostOf(t, full), IgnoreHTTPSErrors: true, Steps: [][]any{
			{"goto", full},
			{"fill", "Account ID, e-mail", r.demo.Email}, {"fill", "Your password", r.demo.Password}, {"button", "Sign in"},
			{"see", "Somebody asks to open this device"}, {"see", code}, {"see", r.Property("DeviceId").Value().(string)}, {"axe"},
			{"tick", "The device is in my hands"}, {"button", "Open this device"}, {"see", "You approved it"},
		},
	})
	c.await("done")
	r.wantState("linked")
	r.restart()
	r.wantState("linked")
	r.Bus.MustNotPrint(t, code)
}

func TestWhatTheOwnerDoesNotApproveOpensNothing(t *testing.T) {
	t.Parallel()
	r := locked(t)
	id := r.Property("DeviceId").Value().(string)

	refused := r.begin("Unlock")
	r.decide(refused.ask()["user-code"].Value().(string), "refuse")
	refused.wantEnd("Declined")

	lost := r.begin("Unlock")
	lost.ask()
	r.admin("device", "lost", id)
	lost.wantEnd("Declined")
	r.admin("device", "found", id)

	// A new code voids the one before, and so does another way.
	c := r.begin("Unlock")
	first := c.ask()["user-code"]
	if second := c.ask()["user-code"]; second == first {
		t.Fatal("the code stays")
	}
	if err := c.Obj.Call(accountlock.FlowFace+".Choose", 0, "password").Err; err != nil {
		t.Fatal(err)
	}
	if err := c.answer(r.demo.person); err != nil {
		t.Fatal(err)
	}
	r.wantState("linked")
}

func TestAnApprovalThatOutlivesTheDaemonIsAskedForAgain(t *testing.T) {
	t.Parallel()
	r := locked(t)
	c := r.begin("Unlock")
	code := c.ask()["user-code"].Value().(string)
	r.KillDaemon()
	r.decide(code, "approve")
	r.StartDaemon()
	r.wantState("locked factory-reset")
	c = r.begin("Unlock")
	r.decide(c.ask()["user-code"].Value().(string), "approve")
	c.await("done")
	r.wantState("linked")
}

func TestAScriptHearsOfTheCodeAndWaits(t *testing.T) {
	t.Parallel()
	r := locked(t)
	var out, notes bytes.Buffer
	seen, tell := io.Pipe()
	cmd := exec.Command(filepath.Join(r.Bin, "accountlockctl"), "unlock", "--method", "approve", "--json")
	cmd.Env = append(os.Environ(), "DBUS_SYSTEM_BUS_ADDRESS="+r.Bus.Address())
	cmd.Stdout, cmd.Stderr = &out, io.MultiWriter(&notes, tell)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var note struct {
		Step, URI string
		UserCode  string `json:"user_code"`
		Complete  string `json:"uri_complete"`
	}
	if err := json.NewDecoder(seen).Decode(&note); err != nil || note.Step != "approve" || note.Complete != note.URI+"?code="+note.UserCode {
		t.Fatalf("%v: %+v", err, note)
	}
	go func() { _, _ = io.Copy(io.Discard, seen) }()
	r.decide(note.UserCode, "approve")
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, notes.String())
	}
	if want := `{"flow":"unlock","outcome":"done","state":"linked","lock_reason":""}`; strings.TrimSpace(out.String()) != want {
		t.Errorf("it answers %s", out.String())
	}
}

// scan reads a picture as a phone's camera does.
func scan(t *testing.T, picture string) string {
	t.Helper()
	if _, err := exec.LookPath("zbarimg"); err != nil {
		t.Skip("zbarimg is not installed: test/deps.sh test")
	}
	raw, err := exec.Command("zbarimg", "--quiet", "--raw", picture).Output()
	if err != nil {
		t.Fatalf("no code can be read from the picture: %v", err)
	}
	return strings.TrimSpace(string(raw))
}

func TestTheTouchScreensCodeIsScannedAndApproved(t *testing.T) {
	t.Parallel()
	r := locked(t)
	kiosk, address := r.openKiosk()
	picture := r.Path("approve.png")
	done := make(chan struct{})
	go func() {
		defer close(done)
		p := phone(t, address,
			[]any{"button", "Approve it from another device"},
			[]any{"see", "scan the code or open the address"}, []any{"axe"}, []any{"targets"}, []any{"shot", r.Path("shot.png")},
			[]any{"rename", r.Path("shot.png"), picture},
			[]any{"see", "This device is open"})
		browser.Visit(t, p)
	}()
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if _, err := os.Stat(picture); err == nil {
			break
		} else if time.Now().After(end) {
			t.Fatal("the browser does not come to the code")
		}
	}
	browser.Visit(t, browser.Plan{
		Width: 390, Height: 844, Touch: true, IgnoreHTTPSErrors: true, Steps: [][]any{
			{"goto", scan(t, picture)},
			{"fill", "Account ID, e-mail", r.demo.Email}, {"fill", "Your password", r.demo.Password}, {"button", "Sign in"},
			{"tick", "The device is in my hands"}, {"button", "Open this device"}, {"see", "You approved it"},
		},
	})
	<-done
	if code := kiosk.Wait(t); code != 0 {
		t.Errorf("the kiosk ended with %d", code)
	}
	r.wantState("linked")
}

var shownCode = regexp.MustCompile(`\b[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}\b`)

// code is the newest that the terminal shows.
func (tm *terminal) code() string {
	tm.t.Helper()
	all := shownCode.FindAllString(tm.screen(), -1)
	if len(all) == 0 {
		tm.t.Fatalf("the screen shows no code:\n%s", tm.screen())
	}
	return all[len(all)-1]
}

func TestAWholeTerminalShowsTheCodeAndGoesOnByItself(t *testing.T) {
	t.Parallel()
	r := locked(t)
	tm := r.openTerminal("80x24", []string{"TERM=xterm-256color"})
	tm.await("2 Approve it from another device", 1)
	tm.keys("2")
	tm.await("Valid until", 1)
	tm.await("████", 1)
	r.decide(tm.code(), "approve")
	tm.awaitExit(0)
	r.wantState("linked")
}

func TestASerialConsoleAndAScreenReaderSayTheCodeAndWhatBecomesOfIt(t *testing.T) {
	t.Parallel()
	r := locked(t)
	for _, c := range []struct{ mode, answer string }{{"--plain", "refuse"}, {"--screen-reader", "approve"}} {
		tm := r.openTerminal("80x24", []string{"TERM=vt220"}, c.mode)
		tm.await("2 Approve it from another device", 1)
		tm.keys("2", "Enter")
		tm.await("Valid until", 1)
		r.decide(tm.code(), c.answer)
		if c.answer == "approve" {
			tm.never("█")
			tm.awaitExit(0)
			continue
		}
		tm.await("The request to open this device was refused.", 1)
		tm.keys("Enter")
		tm.await("2 Approve it from another device", 2)
	}
	r.wantState("linked")
}
