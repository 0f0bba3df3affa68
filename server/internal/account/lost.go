package account

const purposeLost = "lost factor"
