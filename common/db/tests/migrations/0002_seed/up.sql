INSERT INTO things VALUES ('seed', 1, '["common"]', '2026-01-02 03:04:05.123456');
