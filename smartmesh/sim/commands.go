package sim

// Response codes.
const (
	rcOK              = 0
	rcInvalidCommand  = 1
	rcInvalidArgument = 2
	rcEndOfList       = 11
	rcNoResources     = 12
	rcInProgress      = 13
	rcNack            = 14
	rcValidationError = 16
	rcInvState        = 17
	rcNotFound        = 18
)

// command is a row of the API: size is that of the request's fixed part, and more may follow if more is set. run gets
// at least size bytes, which it must not keep, and returns the response from RC on. A response with another code than
// 0 ends after it.
type command struct {
	name string
	size int
	more bool
	run  func(m *Manager, req []byte) []byte
}

var commands = [78]command{
	21: {"reset", 9, false, (*Manager).cmdReset},
	22: {"subscribe", 8, false, (*Manager).cmdSubscribe},
	23: {"getTime", 0, false, (*Manager).cmdGetTime},
	26: {"setNetworkConfig", 21, false, (*Manager).cmdSetNetworkConfig},
	31: {"clearStatistics", 0, false, (*Manager).cmdClearStatistics},
	33: {"exchangeMoteJoinKey", 24, false, (*Manager).cmdExchangeMoteJoinKey},
	34: {"exchangeNetworkId", 2, false, (*Manager).cmdExchangeNetworkID},
	35: {"radiotestTx", 8, true, (*Manager).cmdRadiotestTx},
	37: {"radiotestRx", 5, false, (*Manager).cmdRadiotestRx},
	38: {"getRadiotestStatistics", 0, false, (*Manager).cmdGetRadiotestStatistics},
	39: {"setACLEntry", 24, false, (*Manager).cmdSetACLEntry},
	40: {"getNextACLEntry", 8, false, (*Manager).cmdGetNextACLEntry},
	41: {"deleteACLEntry", 8, false, (*Manager).cmdDeleteACLEntry},
	42: {"pingMote", 8, false, (*Manager).cmdPingMote},
	43: {"getLog", 8, false, (*Manager).cmdGetLog},
	44: {"sendData", 14, true, (*Manager).cmdSendData},
	45: {"startNetwork", 0, false, (*Manager).cmdStartNetwork},
	46: {"getSystemInfo", 0, false, (*Manager).cmdGetSystemInfo},
	47: {"getMoteConfig", 9, false, (*Manager).cmdGetMoteConfig},
	48: {"getPathInfo", 16, false, (*Manager).cmdGetPathInfo},
	49: {"getNextPathInfo", 11, false, (*Manager).cmdGetNextPathInfo},
	50: {"setAdvertising", 1, false, (*Manager).cmdSetAdvertising},
	51: {"setDownstreamFrameMode", 1, false, (*Manager).cmdSetDownstreamFrameMode},
	53: {"getManagerStatistics", 0, false, (*Manager).cmdGetManagerStatistics},
	54: {"setTime", 13, false, (*Manager).cmdSetTime},
	55: {"getLicense", 0, false, (*Manager).cmdGetLicense},
	56: {"setLicense", 13, false, (*Manager).cmdSetLicense},
	58: {"setCLIUser", 17, false, (*Manager).cmdSetCLIUser},
	59: {"sendIP", 11, true, (*Manager).cmdSendIP},
	61: {"restoreFactoryDefaults", 0, false, (*Manager).cmdRestoreFactoryDefaults},
	62: {"getMoteInfo", 8, false, (*Manager).cmdGetMoteInfo},
	63: {"getNetworkConfig", 0, false, (*Manager).cmdGetNetworkConfig},
	64: {"getNetworkInfo", 0, false, (*Manager).cmdGetNetworkInfo},
	65: {"getMoteConfigById", 2, false, (*Manager).cmdGetMoteConfigByID},
	66: {"setCommonJoinKey", 16, false, (*Manager).cmdSetCommonJoinKey},
	67: {"getIPConfig", 0, false, (*Manager).cmdGetIPConfig},
	68: {"setIPConfig", 32, false, (*Manager).cmdSetIPConfig},
	69: {"deleteMote", 8, false, (*Manager).cmdDeleteMote},
	70: {"getMoteLinks", 10, false, (*Manager).cmdGetMoteLinks},
	74: {"radiotestRxPER", 0, false, (*Manager).cmdRadiotestRxPER},
	75: {"radiotestTxPER", 7, false, (*Manager).cmdRadiotestTxPER},
	76: {"radiotestXtalComp", 6, false, (*Manager).cmdRadiotestXtalComp},
	77: {"radiotestXtal", 2, false, (*Manager).cmdRadiotestXtal},
}

// rc is a response of the code alone.
func rc(code byte) []byte { return []byte{code} }

// execute runs a request and returns the response's payload. A request of the wrong length is a violation and gives
// RC_INVALID_ARGUMENT.
func (m *Manager) execute(p packet) []byte {
	if int(p.kind) >= len(commands) || commands[p.kind].run == nil {
		m.log.Debug("unknown command", "type", p.kind)
		return rc(rcInvalidCommand)
	}
	c := commands[p.kind]
	if len(p.payload) < c.size || len(p.payload) > c.size && !c.more {
		m.violate("%s with %d bytes, want %d", c.name, len(p.payload), c.size)
		return rc(rcInvalidArgument)
	}
	m.log.Debug("request", "command", c.name, "seq", p.seq)
	return c.run(m, p.payload)
}

// begin starts an operation that ends with eventCommandFinished after takes; then is called at its end. One of each
// command can run.
func (m *Manager) begin(command byte, then func()) []byte {
	if m.pending[command] {
		return rc(rcInProgress)
	}
	m.pending[command] = true
	id := m.nextCallback()
	m.later(operationTime, func() {
		delete(m.pending, command)
		then()
		m.finished(eventCommandFinished, id)
	})
	return be.AppendUint32(rc(rcOK), id)
}
