-- What is to be sent again, by exporter.
CREATE INDEX parked_resend ON parked (exporter, key) WHERE resend = 1;
