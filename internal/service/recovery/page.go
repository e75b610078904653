// SPDX-License-Identifier: Apache-2.0

package recovery

import (
	"html/template"
	"net/http"

	"github.com/accountlock/accountlock/internal/fault"
)

// StopPath is the page that the owner's notice leads to.
const StopPath = "/recover/stop"

// maxForm bounds, in bytes, what is posted.
const maxForm = 4 << 10

// stopPage asks before it stops: programs that look at the links in a mail must not
// have stopped anything by it.
var stopPage = template.Must(template.New("stop").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Stop a recovery</title></head>
<body><main><h1>Stop a recovery</h1>
{{with .Said}}<p role="status">{{.}}</p>{{end}}
{{if not .Done}}<p>Somebody asked to recover your account. If it was not you, stop it here.</p>
<form method="post" action="` + StopPath + `"><p><label for="code">Code from the message</label><br>
<input id="code" name="code" value="{{.Code}}" autocomplete="off" required maxlength="40"></p><p><button>Stop it</button></p></form>{{end}}
</main></body></html>
`))

// Stopping is the page that the owner's notice leads to: it shows the code of the link and
// stops on the push of a button. Without JavaScript, session or cookie: the code is
// the authority.
func (s *Service) Stopping(w http.ResponseWriter, r *http.Request) {
	var page struct {
		Code, Said string
		Done       bool
	}
	status := http.StatusOK
	if r.Method == http.MethodPost {
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		page.Code = r.PostFormValue("code")
		switch err := s.Stop(r.Context(), page.Code); fault.CodeOf(err) {
		case "":
			page.Said, page.Done = "The recovery is stopped. Nobody can go on with it. If somebody may know your password, change it.", true
		case fault.InvalidCode:
			status = http.StatusForbidden
			page.Said = "No recovery that is under way has this code: it may be stopped or over already."
		default:
			s.Log.WarnContext(r.Context(), "cannot stop a recovery", "error", err)
			status = http.StatusServiceUnavailable
			page.Said = "This does not work at the moment. Try again in a minute."
		}
	} else {
		page.Code = r.URL.Query().Get("code")
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	if err := stopPage.Execute(w, page); err != nil {
		s.Log.DebugContext(r.Context(), "cannot write a page", "error", err)
	}
}
