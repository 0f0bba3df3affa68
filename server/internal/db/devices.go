package db

import (
	"time"

	"github.com/admit-auth/admit/provider"
)

const (
	deviceColumns = "SELECT id, user_code, grant_id, decision, wait, digest, expires_at, data, decided_by FROM devices "
	sqlDevice     = deviceColumns + "WHERE id = ?"
	sqlDeviceOf   = deviceColumns + "WHERE user_code = ?"
	sqlAddDevice  = `INSERT INTO devices (id, client_id, user_code, grant_id, decision, wait, digest, expires_at, data, decided_by)
		VALUES (?, ?, ?, '', '', ?, ?, ?, ?, '')`
	sqlDecideDevice  = "UPDATE devices SET decision = ?, decided_by = ? WHERE id = ? AND decision = ''"
	sqlSpendDevice   = "UPDATE devices SET grant_id = ? WHERE id = ? AND decision = 'allow' AND grant_id = ''"
	sqlSlowDevice    = "UPDATE devices SET wait = ? WHERE id = ?"
	sqlSweepDevices  = "DELETE FROM devices WHERE id IN (SELECT id FROM devices WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)"
	sqlForgetDevices = "DELETE FROM devices WHERE client_id = ?"
)

type deviceRow struct {
	Asked   askedRow `json:"asked"`
	Address string   `json:"address,omitempty"`
}

// Device implements provider.Tx.
func (t providerTx) Device(selector string) (*provider.Device, error) {
	return t.device(sqlDevice, selector)
}

// DeviceOf implements provider.Tx.
func (t providerTx) DeviceOf(userCode string) (*provider.Device, error) {
	return t.device(sqlDeviceOf, userCode)
}

func (t providerTx) device(query, key string) (*provider.Device, error) {
	d := &provider.Device{}
	var digest []byte
	var wait, expires int64
	var data, by string
	err := t.row(query, key).Scan(&d.Selector, &d.UserCode, &d.Grant, &d.Decision, &wait, &digest, &expires, &data, &by)
	if err == nil {
		var row deviceRow
		err = parse(data, &row)
		copy(d.Digest[:], digest)
		d.Interval, d.Expires = time.Duration(wait)*time.Millisecond, time.UnixMilli(expires)
		d.Asked, d.Address = provider.Asked(row.Asked), row.Address
	}
	if err == nil && by != "" {
		var row sessionRow
		err = parse(by, &row)
		d.Session = provider.Session(row)
	}
	return found(d, err)
}

// AddDevice implements provider.Tx.
func (t providerTx) AddDevice(d *provider.Device) error {
	data, err := text(deviceRow{askedRow(d.Asked), d.Address})
	if err != nil {
		return err
	}
	return t.exec(sqlAddDevice, d.Selector, d.Asked.Client, d.UserCode, d.Interval.Milliseconds(), d.Digest[:], d.Expires.UnixMilli(), data)
}

// DecideDevice implements provider.Tx.
func (t providerTx) DecideDevice(selector string, d provider.Decision, by *provider.Session) (bool, error) {
	data, err := text(sessionRow(*by))
	if err != nil {
		return false, err
	}
	return t.one(sqlDecideDevice, string(d), data, selector)
}

// SpendDevice implements provider.Tx.
func (t providerTx) SpendDevice(selector, grant string) (bool, error) {
	return t.one(sqlSpendDevice, grant, selector)
}

// SlowDevice implements provider.Tx.
func (t providerTx) SlowDevice(selector string, interval time.Duration) error {
	return t.exec(sqlSlowDevice, interval.Milliseconds(), selector)
}
