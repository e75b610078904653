// SPDX-License-Identifier: Apache-2.0

package httpapi_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/accountlock/accountlock/internal/accountapi"
	"github.com/accountlock/accountlock/internal/service/apitest"
	"github.com/accountlock/accountlock/internal/service/httpapi"
)

// raw sends a signed POST with any body and content type.
func raw(t testing.TB, s *apitest.Service, d *apitest.Device, path, contentType string, body []byte) apitest.Answer {
	t.Helper()
	d.Nonce = freshNonce(t, s)
	r, err := d.Request(t.Context(), http.MethodPost, path, apitest.NewKey(), body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Del("Content-Type")
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	return send(t, d, r)
}

func TestBodiesThatAreNotAsTheDocumentSays(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	nonce := apitest.NewNonce()
	long := func(n int) string { return strings.Repeat("é", n) }
	flows, statement, events, devices := "/v1/flows", "/v1/devices/"+d.ID+"/statement", "/v1/devices/"+d.ID+"/events", "/v1/devices"
	begun, _ := d.Begin(t, accountapi.FlowKindLink)
	answer := "/v1/flows/" + begun.Step.FlowId
	for name, c := range map[string]struct{ path, body string }{
		"empty":                           {statement, ``},
		"cut off":                         {statement, `{"nonce": "` + nonce},
		"not JSON":                        {statement, `nonce=` + nonce},
		"two values":                      {statement, `{"nonce": "` + nonce + `"} {}`},
		"trailing text":                   {statement, `{"nonce": "` + nonce + `"} x`},
		"a list":                          {statement, `["` + nonce + `"]`},
		"null":                            {statement, `null`},
		"an unknown member":               {statement, `{"nonce": "` + nonce + `", "hint": true}`},
		"a member of the wrong type":      {statement, `{"nonce": 7}`},
		"not UTF-8":                       {statement, `{"nonce": "` + nonce + `", "link_id": "` + "\xff" + `"}`},
		"a short nonce":                   {statement, `{"nonce": "` + nonce[1:] + `"}`},
		"a long nonce":                    {statement, `{"nonce": "A` + nonce + `"}`},
		"a nonce that is not base64url":   {statement, `{"nonce": "` + nonce[1:] + `+"}`},
		"a long link ID":                  {statement, `{"nonce": "` + nonce + `", "link_id": "` + long(65) + `"}`},
		"no kind":                         {flows, `{"device_id": "` + d.ID + `", "nonce": "` + nonce + `"}`},
		"an unknown kind":                 {flows, `{"kind": "steal", "device_id": "` + d.ID + `", "nonce": "` + nonce + `"}`},
		"a device ID in lower case":       {flows, `{"kind": "link", "device_id": "` + strings.ToLower(d.ID) + `", "nonce": "` + nonce + `"}`},
		"a region in words":               {flows, `{"kind": "link", "device_id": "` + d.ID + `", "nonce": "` + nonce + `", "region": "Britain"}`},
		"a long locale":                   {flows, `{"kind": "link", "device_id": "` + d.ID + `", "nonce": "` + nonce + `", "locale": "` + long(36) + `"}`},
		"an unknown step":                 {answer, `{"step": "working"}`},
		"no step":                         {answer, `{}`},
		"a long identifier":               {answer, `{"step": "identify", "identifier": "` + long(255) + `"}`},
		"a long password":                 {answer, `{"step": "password", "password": "` + long(1025) + `"}`},
		"a password that is a number":     {answer, `{"step": "password", "password": 12345678}`},
		"a long code":                     {answer, `{"step": "code", "code": "` + long(65) + `"}`},
		"a long captcha":                  {answer, `{"step": "captcha", "captcha": "` + long(4097) + `"}`},
		"an identifier with a NUL":        {answer, `{"step": "identify", "identifier": "jane\u0000"}`},
		"a detail with a NUL":             {events, `{"events": [{"kind": "started", "time": 1, "detail": "\u0000"}]}`},
		"a locale with a NUL":             {flows, `{"kind": "link", "device_id": "` + d.ID + `", "nonce": "` + nonce + `", "locale": "en\u0000"}`},
		"a link ID with a NUL":            {statement, `{"nonce": "` + nonce + `", "link_id": "\u0000"}`},
		"an answer with a short nonce":    {answer, `{"step": "commit", "nonce": "AAAA"}`},
		"no events":                       {events, `{"events": []}`},
		"too many events":                 {events, `{"events": [` + strings.TrimSuffix(strings.Repeat(`{"kind": "started", "time": 1},`, 101), ",") + `]}`},
		"an unknown event":                {events, `{"events": [{"kind": "exploded", "time": 1}]}`},
		"a long detail":                   {events, `{"events": [{"kind": "started", "time": 1, "detail": "` + long(201) + `"}]}`},
		"an enrolment without a key":      {devices, `{"identities": [{"source": "dmi", "digest": "` + nonce + `"}]}`},
		"an enrolment with an RSA key":    {devices, `{"key": {"kty": "RSA", "crv": "Ed25519", "x": "` + nonce + `"}, "identities": [{"source": "dmi", "digest": "` + nonce + `"}]}`},
		"an enrolment without identities": {devices, `{"key": {"kty": "OKP", "crv": "Ed25519", "x": "` + nonce + `"}, "identities": []}`},
		"an unknown identity source":      {devices, `{"key": {"kty": "OKP", "crv": "Ed25519", "x": "` + nonce + `"}, "identities": [{"source": "imei", "digest": "` + nonce + `"}]}`},
		"a short digest":                  {devices, `{"key": {"kty": "OKP", "crv": "Ed25519", "x": "` + nonce + `"}, "identities": [{"source": "dmi", "digest": "AAAA"}]}`},
		"a long model":                    {devices, `{"key": {"kty": "OKP", "crv": "Ed25519", "x": "` + nonce + `"}, "identities": [{"source": "dmi", "digest": "` + nonce + `"}], "model": "` + long(129) + `"}`},
		"a model of two lines":            {devices, `{"key": {"kty": "OKP", "crv": "Ed25519", "x": "` + nonce + `"}, "identities": [{"source": "dmi", "digest": "` + nonce + `"}], "model": "Pixel\n7a"}`},
		"a model with a NUL":              {devices, `{"key": {"kty": "OKP", "crv": "Ed25519", "x": "` + nonce + `"}, "identities": [{"source": "dmi", "digest": "` + nonce + `"}], "model": "Pixel\u0000"}`},
		"a model that is turned around":   {devices, `{"key": {"kty": "OKP", "crv": "Ed25519", "x": "` + nonce + `"}, "identities": [{"source": "dmi", "digest": "` + nonce + `"}], "model": "Pixel \u202ea7"}`},
	} {
		t.Run(name, func(t *testing.T) {
			wantCode(t, raw(t, s, d, c.path, "application/json", []byte(c.body)), 400, "InvalidArgument")
		})
	}
	t.Run("what is as long as it may be is taken", func(t *testing.T) {
		body := `{"step": "identify", "identifier": "` + long(254) + `"}`
		wantStep(t, raw(t, s, d, answer, "application/json; charset=utf-8", []byte(body)), accountapi.Password)
	})
}

func TestARefusalRepeatsNothingOfTheBody(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	const secret = "hunter2hunter2"
	begun, _ := d.Begin(t, accountapi.FlowKindLink)
	for name, body := range map[string]string{
		"as an unknown member":      `{"step": "password", "` + secret + `": 1}`,
		"of the wrong type":         `{"step": {"` + secret + `": 1}}`,
		"as a step":                 `{"step": "` + secret + `"}`,
		"in what is not JSON":       `{"step": "password", "password": "` + secret + `" oops`,
		"in a password in an array": `{"step": "password", "password": ["` + secret + `"]}`,
	} {
		t.Run(name, func(t *testing.T) {
			a := raw(t, s, d, "/v1/flows/"+begun.Step.FlowId, "application/json", []byte(body))
			wantCode(t, a, 400, "InvalidArgument")
			if bytes.Contains(a.Body, []byte(secret)) {
				t.Errorf("the refusal says %s", a.Body)
			}
		})
	}
	if strings.Contains(s.Log.String(), secret) {
		t.Error("the log holds a piece of a body")
	}
}

func TestSizesAndMediaTypes(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	path := "/v1/devices/" + d.ID + "/statement"
	body := []byte(`{"nonce": "` + apitest.NewNonce() + `"}`)
	pad := func(n int) []byte { return append(bytes.Repeat([]byte(" "), n-len(body)), body...) }
	for name, c := range map[string]struct {
		contentType string
		body        []byte
		want        int
	}{
		"64 KiB":                       {"application/json", pad(httpapi.MaxBody), 200},
		"a byte more":                  {"application/json", pad(httpapi.MaxBody + 1), 413},
		"a hundred times as much":      {"application/json", pad(100 * httpapi.MaxBody), 413},
		"no media type":                {"", body, 415},
		"a form":                       {"application/x-www-form-urlencoded", body, 415},
		"text":                         {"text/json", body, 415},
		"JSON of another sort":         {"application/problem+json", body, 415},
		"JSON in another alphabet":     {"application/json; charset=latin1", body, 415},
		"a media type that is garbage": {"application/json; ;;", body, 415},
		"JSON in UTF-8":                {`application/json; charset="utf-8"`, body, 200},
	} {
		t.Run(name, func(t *testing.T) {
			a := raw(t, s, d, path, c.contentType, c.body)
			if a.Status != c.want || (c.want != 200 && a.Code() != "InvalidArgument") {
				t.Errorf("got %d %.200s, want %d", a.Status, a.Body, c.want)
			}
		})
	}
	t.Run("a body without a length", func(t *testing.T) {
		d.Nonce = freshNonce(t, s)
		r, err := d.Request(t.Context(), http.MethodPost, path, apitest.NewKey(), pad(httpapi.MaxBody+1))
		if err != nil {
			t.Fatal(err)
		}
		r.Body, r.ContentLength, r.GetBody = io.NopCloser(bytes.NewReader(pad(4*httpapi.MaxBody))), -1, nil
		wantCode(t, send(t, d, r), 413, "InvalidArgument")
	})
	t.Run("a body that is compressed", func(t *testing.T) {
		d.Nonce = freshNonce(t, s)
		r, err := d.Request(t.Context(), http.MethodPost, path, apitest.NewKey(), body)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Encoding", "gzip")
		wantCode(t, send(t, d, r), 415, "InvalidArgument")
	})
	t.Run("a body where there is none", func(t *testing.T) {
		begun, _ := d.Begin(t, accountapi.FlowKindLink)
		wantCode(t, raw(t, s, d, "/v1/flows/"+begun.Step.FlowId+"/resend", "application/json", body), 413, "InvalidArgument")
	})
}

func TestHeadersAndAddressesThatAreNotRight(t *testing.T) {
	s := apitest.Start(t)
	d := s.Device(t)
	body := []byte(`{"nonce": "` + apitest.NewNonce() + `"}`)
	for name, c := range map[string]struct {
		method, path, key string
		want              int
	}{
		"a short idempotency key":          {"POST", "/v1/devices/" + d.ID + "/statement", "short", 400},
		"a long idempotency key":           {"POST", "/v1/devices/" + d.ID + "/statement", strings.Repeat("k", 65), 400},
		"an idempotency key with a space":  {"POST", "/v1/devices/" + d.ID + "/statement", "sixteen bytes or more", 400},
		"a device ID that is none":         {"POST", "/v1/devices/ABC/statement", apitest.NewKey(), 400},
		"a flow ID that is none":           {"POST", "/v1/flows/short", apitest.NewKey(), 400},
		"a call that does not exist":       {"POST", "/v1/devices/" + d.ID + "/explode", apitest.NewKey(), 404},
		"a path with a dot":                {"POST", "/v1/./devices", apitest.NewKey(), 404},
		"a path with two slashes":          {"POST", "/v1//devices", apitest.NewKey(), 404},
		"a method that the call is not of": {"PUT", "/v1/devices", apitest.NewKey(), 405},
		"a GET of a call":                  {"GET", "/v1/flows", apitest.NewKey(), 405},
	} {
		t.Run(name, func(t *testing.T) {
			d.Nonce = freshNonce(t, s)
			r, err := d.Request(t.Context(), c.method, c.path, c.key, body)
			if err != nil {
				t.Fatal(err)
			}
			a := send(t, d, r)
			wantCode(t, a, c.want, "InvalidArgument")
			if (c.want == 405) != (a.Header.Get("Allow") != "") {
				t.Errorf("Allow is %q", a.Header.Get("Allow"))
			}
		})
	}
	t.Run("no idempotency key", func(t *testing.T) {
		r := statement(t, d)
		r.Header.Del(accountapi.HeaderIdempotencyKey)
		wantCode(t, send(t, d, r), 400, "InvalidArgument")
	})
}

func TestEverySignedCallOfTheDocumentIsServed(t *testing.T) {
	doc, err := os.ReadFile("../../../docs/account-api.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	path, method := "", ""
	for line := range strings.Lines(string(doc)) {
		if m := regexp.MustCompile(`^  (/\S*):`).FindStringSubmatch(line); m != nil {
			path = m[1]
		}
		if m := regexp.MustCompile(`^    (post|delete|get|put):`).FindStringSubmatch(line); m != nil {
			method = strings.ToUpper(m[1])
		}
		if m := regexp.MustCompile(`^      operationId: (\w+)`).FindStringSubmatch(line); m != nil && method != "GET" {
			want[method+" "+path] = m[1]
		}
	}
	got := httpapi.Operations()
	if len(got) != len(want) || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("signed calls: %v\nthe document: %v", got, want)
	}
}
