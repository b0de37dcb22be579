package smartmesh

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"
)

// A Filter is a set of notification types.
type Filter uint32

// The notification types to subscribe to.
const (
	FilterEvent      Filter = 1 << NotifEvent
	FilterLog        Filter = 1 << NotifLog
	FilterData       Filter = 1 << NotifData
	FilterIPData     Filter = 1 << NotifIPData
	FilterHealth     Filter = 1 << NotifHealthReport
	FilterRadio      Filter = 1 << NotifRadioTestStats
	FilterEverything        = FilterEvent | FilterLog | FilterData | FilterIPData | FilterHealth | FilterRadio
)

type resetRequest struct {
	Type ResetType `sm:"type" doc:"what to restart"`
	MAC  MAC       `sm:"macAddress,zero" doc:"EUI-64 of the mote; ignored for the system"`
}

type resetResponse struct {
	MAC MAC `sm:"macAddress" doc:"EUI-64 of the mote; ignored for the system"`
}

type subscribeRequest struct {
	Filter Filter `sm:"filter" doc:"bit mask of wanted notification types, bit n = type n"`
	Unack  Filter `sm:"unackFilter" doc:"bit mask: a set bit makes that type arrive unacknowledged"`
}

// TimeInfo is the manager's time, the answer to getTime.
type TimeInfo struct {
	Uptime    uint32    `sm:"uptime" doc:"seconds since the manager booted"`
	UTC       time.Time `sm:"utcSecs+utcUsecs" doc:"the manager's clock"`
	ASN       ASN       `sm:"asn" doc:"absolute slot number, 40-bit big-endian"`
	ASNOffset uint16    `sm:"asnOffset" doc:"microseconds into the slot"`

	// Not on the wire: when the request was written and its response read, on the host's clock, and whether it had to be
	// repeated, in which case the two may not belong together.
	Sent, Received time.Time
	Repeated       bool
}

type setTimeRequest struct {
	Trigger uint8     `sm:"trigger" doc:"0: set now; otherwise relative to the last time-pin strobe"`
	UTC     time.Time `sm:"utcSecs+utcUsecs" doc:"the manager's clock"`
}

// SystemInfo is the manager's address and versions.
type SystemInfo struct {
	MAC     MAC    `sm:"macAddress" doc:"EUI-64 of the manager"`
	HWModel uint8  `sm:"hwModel" doc:"hardware model"`
	HWRev   uint8  `sm:"hwRev" doc:"hardware revision"`
	SWMajor uint8  `sm:"swMajor" doc:"software major"`
	SWMinor uint8  `sm:"swMinor" doc:"software minor"`
	SWPatch uint8  `sm:"swPatch" doc:"software patch"`
	SWBuild uint16 `sm:"swBuild" doc:"software build"`
}

// ManagerStatistics are the counters of the manager's serial port and API. They wrap.
type ManagerStatistics struct {
	SerTxCnt       uint16 `sm:"serTxCnt" doc:"serial packets sent"`
	SerRxCnt       uint16 `sm:"serRxCnt" doc:"serial packets received"`
	SerRxCRCErr    uint16 `sm:"serRxCRCErr" doc:"frames with a bad FCS"`
	SerRxOverruns  uint16 `sm:"serRxOverruns" doc:"receiver overruns"`
	APIEstabConn   uint16 `sm:"apiEstabConn" doc:"sessions opened"`
	APIDroppedConn uint16 `sm:"apiDroppedConn" doc:"sessions dropped"`
	APITxOK        uint16 `sm:"apiTxOk" doc:"reliable packets sent and acknowledged with RC 0"`
	APITxErr       uint16 `sm:"apiTxErr" doc:"reliable packets sent and acknowledged with another RC"`
	APITxFail      uint16 `sm:"apiTxFail" doc:"reliable packets sent and never acknowledged"`
	APIRxOK        uint16 `sm:"apiRxOk" doc:"requests received and answered"`
	APIRxProtErr   uint16 `sm:"apiRxProtErr" doc:"packets dropped for bad format"`
}

type license struct {
	License License `sm:"license" doc:"licence key"`
}

type setCLIUserRequest struct {
	Role     UserRole `sm:"role" doc:"CLI role"`
	Password Key      `sm:"password,secret" doc:"16-byte password"`
}

type moteAddress struct {
	MAC MAC `sm:"macAddress" doc:"EUI-64 of the mote (or manager)"`
}

var (
	reset     = command[resetRequest, resetResponse]{21, "reset", "Restarts the manager itself, or one operational mote.", changes | dangerous}
	subscribe = command[subscribeRequest, none]{22, "subscribe",
		"Replaces the set of notification types this session receives, and says which of them come unacknowledged.", 0}
	getTime         = command[none, TimeInfo]{23, "getTime", "Reads uptime, UTC and ASN as the manager sees them while handling the request.", 0}
	clearStatistics = command[none, none]{31, "clearStatistics",
		"Zeroes network-wide and API counters (not the per-mote or per-path ones).", changes}
	getLog               = command[moteAddress, none]{43, "getLog", "Asks for the diagnostic log of the manager or a mote; the text arrives as notifLog.", 0}
	getSystemInfo        = command[none, SystemInfo]{46, "getSystemInfo", "Reads manager address, hardware and software version.", 0}
	getManagerStatistics = command[none, ManagerStatistics]{53, "getManagerStatistics", "Reads serial-port and API counters of the manager.", 0}
	setTime              = command[setTimeRequest, none]{54, "setTime",
		"Sets the manager's UTC clock; only while the network is stopped. Deprecated.", changes | dangerous}
	getLicense             = command[none, license]{55, "getLicense", "Reads the licence key. Deprecated since manager 1.3.0.", 0}
	setLicense             = command[license, none]{56, "setLicense", "Stores a licence key. Deprecated since manager 1.3.0.", changes | dangerous}
	setCLIUser             = command[setCLIUserRequest, none]{58, "setCLIUser", "Sets the CLI password of one role.", changes | dangerous}
	restoreFactoryDefaults = command[none, none]{61, "restoreFactoryDefaults",
		"Restores default configuration and empties the ACL.", changes | dangerous}

	managerCommands = []*spec{reset.spec(), subscribe.spec(), getTime.spec(), clearStatistics.spec(), getLog.spec(),
		getSystemInfo.spec(), getManagerStatistics.spec(), setTime.spec(), getLicense.spec(), setLicense.spec(),
		setCLIUser.spec(), restoreFactoryDefaults.spec()}
)

// Reset restarts the manager (ResetSystem; mac is ignored), which ends the session, or a mote.
func (s *Session) Reset(ctx context.Context, what ResetType, mac MAC) error {
	_, err := call(ctx, s, reset, resetRequest{what, mac})
	return err
}

// Subscribe replaces the set of notifications that are sent, and of those that are sent unacknowledged.
func (s *Session) Subscribe(ctx context.Context, filter, unack Filter) error {
	_, err := call(ctx, s, subscribe, subscribeRequest{filter, unack})
	return err
}

// ParseSubscribe reads the fields of a subscribe in their JSON form.
func ParseSubscribe(fields json.RawMessage) (filter, unack Filter, err error) {
	payload, err := specs[subscribe.id].req.parse(fields)
	if err != nil {
		return 0, 0, fmt.Errorf("%w: %s: %w", ErrArgument, subscribe.name, err)
	}
	be := binary.BigEndian
	return Filter(be.Uint32(payload)), Filter(be.Uint32(payload[4:])), nil
}

// GetTime reads the manager's clock, and notes when it did; see Clock.
func (s *Session) GetTime(ctx context.Context) (TimeInfo, error) {
	t, at, err := callTimed(ctx, s, getTime, none{})
	t.Sent, t.Received, t.Repeated = at.sent, at.received, at.repeated
	return t, err
}

// ClearStatistics zeroes network-wide and API counters.
func (s *Session) ClearStatistics(ctx context.Context) error {
	_, err := call(ctx, s, clearStatistics, none{})
	return err
}

// GetLog asks for the log of the manager or a mote, which arrives as *LogNotification.
func (s *Session) GetLog(ctx context.Context, mac MAC) error {
	_, err := call(ctx, s, getLog, moteAddress{mac})
	return err
}

// GetSystemInfo reads the manager's address and versions.
func (s *Session) GetSystemInfo(ctx context.Context) (SystemInfo, error) {
	return call(ctx, s, getSystemInfo, none{})
}

// GetManagerStatistics reads the counters of the manager's serial port and API.
func (s *Session) GetManagerStatistics(ctx context.Context) (ManagerStatistics, error) {
	return call(ctx, s, getManagerStatistics, none{})
}

// SetTime sets the manager's clock; trigger 0 at once, otherwise t was the time of the last strobe of the time pin. Only
// while the network is not running. Deprecated by the vendor.
func (s *Session) SetTime(ctx context.Context, trigger uint8, t time.Time) error {
	_, err := call(ctx, s, setTime, setTimeRequest{trigger, t})
	return err
}

// GetLicense reads the licence key. Deprecated by the vendor.
func (s *Session) GetLicense(ctx context.Context) (License, error) {
	l, err := call(ctx, s, getLicense, none{})
	return l.License, err
}

// SetLicense stores a licence key. Deprecated by the vendor.
func (s *Session) SetLicense(ctx context.Context, key License) error {
	_, err := call(ctx, s, setLicense, license{key})
	return err
}

// SetCLIUser sets the password of a role on the manager's command line.
func (s *Session) SetCLIUser(ctx context.Context, role UserRole, password Key) error {
	_, err := call(ctx, s, setCLIUser, setCLIUserRequest{role, password})
	return err
}

// RestoreFactoryDefaults restores the default configuration and empties the access list.
func (s *Session) RestoreFactoryDefaults(ctx context.Context) error {
	_, err := call(ctx, s, restoreFactoryDefaults, none{})
	return err
}
