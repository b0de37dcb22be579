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
	"embed"
	"net/http"
)

//go:embed index.html console.js console.css
var files embed.FS

// Register adds the page to mux. Its policy lets the browser run and ask this gateway only, and lets
// no other page frame it: a click on a switch is to be meant.
func Register(mux *http.ServeMux) {
	serve := http.FileServerFS(files)
	for _, pattern := range []string{"GET /{$}", "GET /console.js", "GET /console.css"} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			h := w.Header()
			h.Set("Content-Security-Policy", "default-src 'self'; img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
			h.Set("X-Content-Type-Options", "nosniff")
			h.Set("Referrer-Policy", "no-referrer")
			h.Set("Cache-Control", "no-cache") // another version may be behind the same address tomorrow
			serve.ServeHTTP(w, r)
		})
	}
}
