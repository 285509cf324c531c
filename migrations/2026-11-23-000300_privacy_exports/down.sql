DROP TABLE privacy_export_pieces;
DROP TABLE privacy_exports;
