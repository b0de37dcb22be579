// Package console is the page that a browser shows of a gateway: the links of the chain, the motes
// with their temperatures, the outputs with their switches, and the live messages.
//
//	/            index.html
//	/console.js  asks the API below /api/v1/ for the rest; nothing comes from anywhere else
//	/console.css
//
// The three files are in the program. The page keeps nothing and needs nothing that the API, open to
// whoever may open the page, does not give.
package console

import (
	_ "embed"
	"io"
	"net/http"
)

var (
	//go:embed index.html
	page string
	//go:embed console.js
	script string
	//go:embed console.css
	style string
)

// Register adds the page to mux. Its policy lets the browser run and ask this gateway only, and lets
// no other page frame it: a click on a switch is to be meant.
func Register(mux *http.ServeMux) {
	for _, f := range []struct{ pattern, kind, text string }{
		{"GET /{$}", "text/html", page}, {"GET /console.js", "text/javascript", script}, {"GET /console.css", "text/css", style},
	} {
		mux.HandleFunc(f.pattern, func(w http.ResponseWriter, r *http.Request) {
			h := w.Header()
			h.Set("Content-Type", f.kind+"; charset=utf-8")
			h.Set("Content-Security-Policy", "default-src 'self'; img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
			h.Set("X-Content-Type-Options", "nosniff")
			h.Set("Referrer-Policy", "no-referrer")
			h.Set("Cache-Control", "no-store") // another version may be behind the same address tomorrow
			io.WriteString(w, f.text)          // the browser has gone if this fails
		})
	}
}
