package config

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
)

// host is what the defaults ask of the machine.
type host struct {
	getenv   func(string) string
	readFile func(string) ([]byte, error)
}

func thisHost() host { return host{getenv: os.Getenv, readFile: os.ReadFile} }

// stateDir returns the default of state_dir: what systemd made for the unit, or the same
// folder by name.
func (h host) stateDir() string {
	// systemd.exec(5): several folders are separated by colons.
	if dir, _, _ := strings.Cut(h.getenv("STATE_DIRECTORY"), ":"); filepath.IsAbs(dir) {
		return dir
	}
	return "/var/lib/meshgate"
}

var errNoMachineID = errors.New("this machine has no /etc/machine-id to derive one from")

// appKey keeps the machine id, which is confidential (machine-id(5)), out of the topics.
const appKey = "meshgate gateway id 1"

// id derives the gateway's id from the hardware: "mg-" and 12 hex digits of
// HMAC-SHA256(appKey, machine id, serial number of the board). The serial number, where the
// board has one (/sys/firmware/devicetree/base/serial-number: a Raspberry Pi, a BeagleBone),
// keeps two gateways apart whose cards were copied from one image together with the machine
// id. The host name has no part in it: it is the same on every fresh image, and people change it.
func (h host) id() (string, error) {
	machine, err := h.machineID()
	if err != nil {
		return "", err
	}
	mac := hmac.New(sha256.New, []byte(appKey))
	mac.Write(machine)
	if serial, err := h.readFile("/sys/firmware/devicetree/base/serial-number"); err == nil {
		mac.Write(bytes.Trim(serial, "\x00\n "))
	}
	return "mg-" + hex.EncodeToString(mac.Sum(nil))[:12], nil
}

// machineID returns the 32 hex digits of machine-id(5). While the first boot has not set it,
// the file is empty or says "uninitialized".
func (h host) machineID() ([]byte, error) {
	for _, path := range []string{"/etc/machine-id", "/var/lib/dbus/machine-id"} {
		data, err := h.readFile(path)
		if err != nil {
			continue
		}
		data = bytes.TrimSpace(data)
		if raw, err := hex.DecodeString(string(data)); err == nil && len(raw) == 16 {
			return bytes.ToLower(data), nil
		}
	}
	return nil, errNoMachineID
}
