ALTER TABLE orders DROP COLUMN adopted;
