package gateway

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/meshgate/meshgate/gateway/local"
)

// TestLocalMetrics: every figure of the local broker is there.
func TestLocalMetrics(t *testing.T) {
	st := local.Stats{}
	v := reflect.ValueOf(&st).Elem()
	for i := range v.NumField() {
		v.Field(i).SetInt(int64(100 + i))
	}
	e := new(exposition)
	localMetrics(e, &st)
	var out strings.Builder
	if err := e.write(&out); err != nil {
		t.Fatal(err)
	}
	got, err := parseExposition(out.String())
	if err != nil {
		t.Fatal(err)
	}
	values := slices.Compact(slices.Sorted(maps.Values(got)))
	if len(values) != v.NumField() || values[0] != 100 || values[len(values)-1] != float64(99+v.NumField()) {
		t.Errorf("got %v", got)
	}
}
