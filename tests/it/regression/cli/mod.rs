//! Faults of the command line and the settings.

mod auth_file;
mod command_line;
mod csv_quotes;
mod environment;
mod home_folder;
mod log_lines;
mod missing_names;
