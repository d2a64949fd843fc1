-- What a request was answered with, where that cannot be read from what it led to.
ALTER TABLE requests ADD COLUMN answer BLOB NOT NULL DEFAULT X'';
