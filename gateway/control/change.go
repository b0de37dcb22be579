package control

import "time"

// Change tells what a new configuration has changed in the running daemon.
type Change struct {
	Started   []string `json:"started,omitempty"`
	Stopped   []string `json:"stopped,omitempty"`
	Restarted []string `json:"restarted,omitempty"`
	Waiting   []string `json:"waiting,omitempty"` // keys that take effect at the next start
}

// ApplyRequest puts the text of a configuration in force at once. With Confirm, a time such as
// "2m", it is on trial: it is taken back unless it is confirmed within that time, or the serial
// sessions and a bridge are well again.
type ApplyRequest struct {
	Text    string `json:"text"`
	Confirm string `json:"confirm,omitempty"`
}

// ConfigState tells where the configuration stands.
type ConfigState struct {
	File    string     `json:"file"`
	Change  *Change    `json:"change,omitempty"`  // of the last one
	Trial   *time.Time `json:"trial,omitempty"`   // until when one is on trial
	Outcome string     `json:"outcome,omitempty"` // of the last trial: confirmed, kept, or taken back, and why
	Unsaved string     `json:"unsaved,omitempty"` // the text in force, when the daemon may not write the file
	Error   string     `json:"error,omitempty"`   // why it could not be written
}
