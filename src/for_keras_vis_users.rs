#![doc = include_str!("for_keras_vis_users.md")]
