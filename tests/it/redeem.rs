//! A token is spent once, whoever tries and however often.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::http::StatusCode;
use serde_json::json;

use crate::app::TestApp;

#[tokio::test]
async fn a_redeemed_token_is_told_as_used_from_then_on() {
    let app = TestApp::start();
    let token = app.issue("alice").await;
    let redeemed = app.redeem(&token).await;
    assert_eq!(redeemed.status, StatusCode::CREATED);
    app.redeem(&token).await.assert_problem(409, "token_used");
    app.check(&token).await.assert_problem(404, "token_used");
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_requests_for_each_of_two_thousand_tokens_have_one_winner_each() {
    const TASKS: usize = 64;
    const TOKENS: usize = 2_000;
    let app = Arc::new(TestApp::start());
    let mut tokens = Vec::new();
    for n in 0..TOKENS {
        tokens.push(app.issue(&format!("user-{n}")).await);
    }
    let tokens = Arc::new(tokens);
    let wins: Arc<Vec<AtomicUsize>> = Arc::new((0..TOKENS).map(|_| AtomicUsize::new(0)).collect());
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let (app, tokens, wins) = (app.clone(), tokens.clone(), wins.clone());
            tokio::spawn(async move {
                for (token, wins) in tokens.iter().zip(wins.iter()) {
                    let answer = app.post("/redemptions", json!({ "token": token })).await;
                    match answer.status {
                        StatusCode::CREATED => wins.fetch_add(1, Ordering::Relaxed),
                        StatusCode::CONFLICT => 0,
                        other => panic!("{other}: {}", answer.text),
                    };
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert!(wins.iter().all(|wins| wins.load(Ordering::Relaxed) == 1));
}
