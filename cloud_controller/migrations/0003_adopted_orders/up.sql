-- An order that was taken over from a controller that died may have been carried out in part.
ALTER TABLE orders ADD COLUMN adopted BOOLEAN NOT NULL DEFAULT FALSE;
