package config

import (
	"regexp"
	"strings"
)

var managerMAC = regexp.MustCompile(`^[0-9a-fA-F]{2}(-[0-9a-fA-F]{2}){7}$`)

// autoPort checks auto:MAC: the USB port behind which the manager of that address answers, whatever its name.
func (v value) autoPort(s string) string {
	mac := strings.TrimPrefix(s, "auto:")
	if !managerMAC.MatchString(mac) {
		v.fail("expected auto, or auto: and the manager's address such as auto:00-17-0d-00-00-38-05-e9, found %q", clip(s))
		return ""
	}
	return "auto:" + strings.ToLower(mac)
}
