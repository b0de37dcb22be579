package main

import "regexp"

var (
	secretKey = regexp.MustCompile(`(?i)((?:pass(?:word|phrase|wd)?|secret|token|api_?key|join_?key)["']?\s*:\s*)("[^"]*"|'[^']*'|[^\s,}#]+)`)
	userInfo  = regexp.MustCompile(`(://)[^/\s"'@]+@`)
	urlQuery  = regexp.MustCompile(`((?:mqtts?|wss?|https?|tcp)://[^\s"'?,}]+\?)[^\s"',}]+`)
)

// redactLine takes the secrets out of one line of a configuration. The names of files stay: they
// are what a person has to look at, and their content is not in the bundle.
func redactLine(line string) string {
	line = secretKey.ReplaceAllString(line, "${1}***")
	line = userInfo.ReplaceAllString(line, "${1}***@")
	return urlQuery.ReplaceAllString(line, "${1}***")
}
