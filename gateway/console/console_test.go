package console

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

func get(path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	mux := http.NewServeMux()
	Register(mux)
	mux.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	return w
}

func TestRegister(t *testing.T) {
	for path, kind := range map[string]string{"/": "text/html", "/console.js": "text/javascript", "/console.css": "text/css"} {
		w := get(path)
		if w.Code != 200 || !strings.HasPrefix(w.Header().Get("Content-Type"), kind) || w.Body.Len() == 0 {
			t.Errorf("%s: %d, %s", path, w.Code, w.Header().Get("Content-Type"))
		}
		if policy := w.Header().Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'self'") || !strings.Contains(policy, "frame-ancestors 'none'") {
			t.Errorf("%s: policy %q", path, policy)
		}
	}
	for _, path := range []string{"/none", "/console.go"} {
		if w := get(path); w.Code != 404 {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

// TestWhole: the page needs nothing from elsewhere, nothing that its own policy forbids, and every
// element that the script asks for by its id is in the page.
func TestWhole(t *testing.T) {
	page, script := get("/").Body.String(), get("/console.js").Body.String()
	for _, m := range regexp.MustCompile(`(?:src|href)="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		if !strings.HasPrefix(m[1], "data:image/") && get("/"+m[1]).Code != 200 {
			t.Errorf("the page wants %s", m[1])
		}
	}
	if m := regexp.MustCompile(`<style| style=| on[a-z]+=|<script>`).FindString(page); m != "" {
		t.Errorf("%q in the page, which its policy forbids", m)
	}
	if strings.Contains(script, "innerHTML") {
		t.Error("what a mote sends could become HTML")
	}
	ids := regexp.MustCompile(`(?:byID|fill)\("([^"]*)"`).FindAllStringSubmatch(script, -1)
	if len(ids) < 10 {
		t.Fatalf("%d elements asked for", len(ids))
	}
	for _, m := range ids {
		if !strings.Contains(page, `id="`+m[1]+`"`) {
			t.Errorf("no element %q in the page", m[1])
		}
	}
}
