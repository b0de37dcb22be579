package control

import "time"

// Topology is a mesh as it hangs together: GET /api/v1/topology gives one for each manager.
type Topology struct {
	Manager string    `json:"manager"`
	Nodes   []Node    `json:"nodes"`
	Links   []Path    `json:"links"`
	Asked   int       `json:"asked"` // motes whose paths the manager has told so far; it is asked slowly
	Oldest  time.Time `json:"oldest,omitzero"`
}

// Node is a mote, or the access point.
type Node struct {
	MAC     string   `json:"mac"`
	ID      uint16   `json:"id"`
	AP      bool     `json:"ap,omitempty"`
	State   string   `json:"state"`
	Fresh   string   `json:"fresh"`
	Parents []string `json:"parents,omitempty"`
	Hops    *float64 `json:"hops,omitempty"` // mean number on the way to the access point
}

// Path is a connection of two nodes. Of a used one the child is From and the parent is To; where
// only a neighbour report tells of it, From is the mote that reported.
type Path struct {
	From      string   `json:"from"`
	To        string   `json:"to"`
	Used      bool     `json:"used"`              // it carries packets; else it is only heard
	Upstream  bool     `json:"upstream"`          // the manager says that To is a parent of From
	Quality   *int     `json:"quality,omitempty"` // 0 to 100, by the manager
	RSSI      *int     `json:"rssi,omitempty"`    // dBm, of what To hears from From
	RSSIBack  *int     `json:"rssi_back,omitempty"`
	Stability *float64 `json:"stability,omitempty"` // share of From's transmissions that were acknowledged
}

// MeshHealth is the analysis of a mesh: GET /api/v1/health gives one for each manager.
type MeshHealth struct {
	Manager     string    `json:"manager"`
	OK          bool      `json:"ok"`
	Motes       int       `json:"motes"`       // those that the manager lists, without the access point
	Operational int       `json:"operational"` // of these
	Checks      []Check   `json:"checks"`
	Failures    []Failure `json:"failures"`
}

// Check is one of the checks, in the same order always.
type Check struct {
	Name   string `json:"name"`
	Limit  string `json:"limit"`
	Judged int    `json:"judged"` // what there was data of: motes, or paths
	Failed int    `json:"failed"` // of these
}

// Failure is a mote, or a path of one, that does not pass a check.
type Failure struct {
	Check  string  `json:"check"`
	MAC    string  `json:"mac"` // "" for the network as a whole
	Value  float64 `json:"value"`
	Text   string  `json:"text"`
	Remedy string  `json:"remedy"`
}
