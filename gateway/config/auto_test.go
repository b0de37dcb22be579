package config

import (
	"strings"
	"testing"
)

func TestAutoPort(t *testing.T) {
	for port, want := range map[string]string{
		"auto":                           "auto",
		"auto:00-17-0D-00-00-38-05-e9":   "auto:00-17-0d-00-00-38-05-e9",
		"auto:":                          "",
		"auto:00-17-0d-00-00-38-05":      "",
		"auto:00170d00003805e9":          "",
		"auto://00-17-0d-00-00-38-05-e9": "",
	} {
		c, err := Parse("f", []byte("managers: [{name: main, port: \""+port+"\"}]\n"), "/")
		switch {
		case want == "" && (err == nil || !strings.Contains(err.Error(), "managers[0].port: expected auto, or auto:")):
			t.Errorf("%s: %v", port, err)
		case want != "" && (err != nil || c.Managers[0].Port != want):
			t.Errorf("%s: %v", port, err)
		}
	}
	_, err := Parse("f", []byte("managers: [{name: a, port: auto:00-17-0d-00-00-38-05-e9}, {name: b, port: auto:00-17-0D-00-00-38-05-E9}]\n"), "/")
	if err == nil || !strings.Contains(err.Error(), "is here twice") {
		t.Errorf("the same manager twice: %v", err)
	}
}

func TestOneRecordingEach(t *testing.T) {
	_, err := Parse("f", []byte("managers: [{name: a, port: auto, record: x}, {name: b, port: /dev/b, record: ./x}, {name: c, port: /dev/c}, {name: d, port: /dev/d}]\n"), "/d")
	if err == nil || err.Error() != `f:1:78: managers[1].record: recording "/d/x" is here twice, first in line 1` {
		t.Errorf("two managers into one file: %v", err)
	}
}
