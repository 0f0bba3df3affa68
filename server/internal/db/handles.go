package db

func (t *txn) UserHandle(user string) (handle []byte, err error) {
	err = t.row("SELECT handle FROM user_handles WHERE user_id = ?", user).Scan(&handle)
	if noRows(err) {
		return nil, nil
	}
	return handle, err
}

func (t *txn) SetUserHandle(user string, handle []byte) error {
	return t.exec("INSERT INTO user_handles (user_id, handle) VALUES (?, ?)", user, handle)
}
